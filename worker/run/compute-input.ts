import type { ComputeInput, ComputeLimits } from '@hivesync/contracts/job-kinds.ts'
import type { SandboxLimits } from '../sandbox/spec.ts'

/** The job's input is not what the contract allows; the message names the member and repeats nothing of it. */
export class InputInvalid extends Error {
  constructor(what: string) {
    super(`The input of the job is not valid: ${what}.`)
    this.name = 'InputInvalid'
  }
}

const mebibyte = 1024 * 1024
const maxCommandParts = 256
const maxTextLength = 8192
const maxFiles = 100
const maxFileLength = 262_144
const maxEnv = 100
const maxPathLength = 400
/** execve takes 2 MiB of arguments and environment together (a quarter of an 8 MiB stack); a submitted input has 1 MiB at most. */
const maxExecBytes = 1_100_000

/**
 * Reads a claimed input again by contracts/job-kinds.ts: the server has checked it, but a worker writes files by these
 * paths and must hold against a server that has been taken over. Throws InputInvalid.
 */
export function readComputeInput(input: Readonly<Record<string, unknown>>): ComputeInput {
  for (const name of Object.keys(input)) {
    if (!['command', 'files', 'env', 'limits'].includes(name)) throw new InputInvalid('it has an unknown member')
  }
  const { files, env, limits } = input
  const command = readCommand(input.command)
  const given = env === undefined ? {} : readEnv(env)
  const texts = [...command, ...Object.entries(given).flat()]
  if (texts.reduce((sum, part) => sum + Buffer.byteLength(part), 0) > maxExecBytes) {
    throw new InputInvalid('command and env together are too long')
  }
  return {
    command,
    ...(files !== undefined && { files: readFiles(files) }),
    ...(env !== undefined && { env: given }),
    ...(limits !== undefined && { limits: readLimits(limits) }),
  }
}

function readCommand(value: unknown): string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > maxCommandParts) throw new InputInvalid('command')
  return value.map((part) => text(part, 'command', maxTextLength))
}

function readFiles(value: unknown): { path: string; content: string }[] {
  if (!Array.isArray(value) || value.length > maxFiles) throw new InputInvalid('files')
  const files = value.map((item: unknown) => {
    const { path, content } = members(item, 'files')
    if (typeof path !== 'string' || !isSafePath(path)) throw new InputInvalid('the path of a file')
    if (typeof content !== 'string' || content.length > maxFileLength) throw new InputInvalid('the content of a file')
    return { path, content }
  })
  const paths = new Set(files.map((file) => file.path))
  const foldersOf = (path: string) =>
    path.split('/').flatMap((_, depth, steps) => (depth === 0 ? [] : [steps.slice(0, depth).join('/')]))
  // One name for two things: what would win depends on the order, so neither does. `out` is the folder of results.
  if (paths.size < files.length || files.some(({ path }) => foldersOf(path).some((folder) => paths.has(folder)))) {
    throw new InputInvalid('two files have the same place')
  }
  if (paths.has('out')) throw new InputInvalid('"out" is the folder of results')
  return files
}

/** A relative path below the job's folder: no way up or out, no control characters, no second spelling. */
export function isSafePath(path: string): boolean {
  if (path.length === 0 || path.length > maxPathLength || /[\p{Cc}\\]/u.test(path) || !path.isWellFormed()) return false
  return path.split('/').every((step) => step !== '' && step !== '.' && step !== '..')
}

function readEnv(value: unknown): Record<string, string> {
  const entries = Object.entries(members(value, 'env'))
  if (entries.length > maxEnv) throw new InputInvalid('env')
  if (entries.some(([name]) => !/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name))) throw new InputInvalid('a name in env')
  return Object.fromEntries(entries.map(([name, content]) => [name, text(content, 'env', maxTextLength)]))
}

const limitRanges = {
  wallSeconds: [1, 3600],
  cpuSeconds: [1, 3600],
  memoryMiB: [16, 4096],
  diskMiB: [1, 1024],
  processes: [4, 512],
  outputKiB: [1, 16_384],
} as const satisfies Record<keyof ComputeLimits, readonly [number, number]>

function readLimits(value: unknown): ComputeLimits {
  const entries = Object.entries(members(value, 'limits')).map(([name, amount]): [string, number] => {
    const range = Object.entries(limitRanges).find(([known]) => known === name)?.[1]
    if (range === undefined || typeof amount !== 'number' || !Number.isInteger(amount)) throw new InputInvalid('limits')
    if (amount < range[0] || amount > range[1]) throw new InputInvalid(`limits.${name}`)
    return [name, amount]
  })
  return Object.fromEntries(entries)
}

function members(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new InputInvalid(what)
  return value as Record<string, unknown>
}

function text(value: unknown, what: string, maxLength: number): string {
  if (typeof value !== 'string' || value.length > maxLength || value.includes('\0')) throw new InputInvalid(what)
  return value
}

/** Tasks of the script around the command: the shell, and the tar it starts. */
const scriptTasks = 2
/** Headers and padding of the archive of a disk full of small files. */
const archiveOverhead = 8 * mebibyte

/** The sandbox's limits for what the job asks for, or by default 5 minutes, 512 MiB of memory, 256 MiB of disk, 64 tasks, 4 MiB of output. */
export function computeLimits(asked: ComputeLimits = {}): SandboxLimits {
  const diskBytes = (asked.diskMiB ?? 256) * mebibyte
  return {
    wallMs: (asked.wallSeconds ?? 300) * 1000,
    cpuSeconds: asked.cpuSeconds ?? 300,
    memoryBytes: (asked.memoryMiB ?? 512) * mebibyte,
    pids: (asked.processes ?? 64) + scriptTasks,
    diskBytes,
    fileBytes: diskBytes,
    outputBytes: (asked.outputKiB ?? 4096) * 1024,
    archiveBytes: diskBytes + archiveOverhead,
    openFiles: 1024,
  }
}
