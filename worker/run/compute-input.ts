import type { ComputeLimits } from '@hivesync/contracts/job-kinds.ts'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'

/** The job's input is not what the contract allows; the message names the member and repeats nothing of it. */
export class InputInvalid extends Error {
  constructor(what: string) {
    super(`The input of the job is not valid: ${what}.`)
    this.name = 'InputInvalid'
  }
}

/** A compute job as its claim says it, with everything it brings along. */
export interface ComputeJob {
  command: readonly string[]
  files: readonly { path: string; content: string }[]
  env: Readonly<Record<string, string>>
  /** Each to be a file of its name below /run/secrets; never anything else. */
  secrets: Readonly<Record<string, Uint8Array>>
  bundle: Claim['bundle']
  install: boolean
  gpu: boolean
  limits: ComputeLimits
}

const maxCommandParts = 256
const maxTextLength = 8192
const maxFiles = 100
const maxFileLength = 262_144
const maxEnv = 100
const maxSecrets = 50
const maxPathLength = 400
/** execve takes 2 MiB of arguments and environment together (a quarter of an 8 MiB stack); a submitted input has 1 MiB at most. */
const maxExecBytes = 1_100_000
const namePattern = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/

const knownMembers = ['command', 'files', 'env', 'limits', 'bundle', 'secretNames', 'install', 'gpu']

/**
 * Reads a claimed job again by contracts/job-kinds.ts: the server has checked it, but a worker writes files by these
 * paths and must hold against a server that has been taken over. Throws InputInvalid.
 */
export function readComputeJob(claim: Pick<Claim, 'input' | 'secrets' | 'bundle'>): ComputeJob {
  const { input } = claim
  if (Object.keys(input).some((name) => !knownMembers.includes(name)))
    throw new InputInvalid('it has an unknown member')
  const command = readCommand(input.command)
  const env = input.env === undefined ? {} : readEnv(input.env)
  const texts = [...command, ...Object.entries(env).flat()]
  if (texts.reduce((sum, part) => sum + Buffer.byteLength(part), 0) > maxExecBytes) {
    throw new InputInvalid('command and env together are too long')
  }
  return {
    command,
    env,
    files: input.files === undefined ? [] : readFiles(input.files),
    secrets: readSecrets(input.secretNames, claim.secrets),
    bundle: readBundle(input.bundle, claim.bundle),
    install: input.install !== undefined && readInstall(input.install),
    gpu: input.gpu !== undefined && readFlag(input.gpu, 'gpu'),
    limits: input.limits === undefined ? {} : readLimits(input.limits),
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
  return path.length <= maxPathLength && isPathBelow(path)
}

/** The same for paths of any length. */
export function isPathBelow(path: string): boolean {
  if (/[\p{Cc}\\]/u.test(path) || !path.isWellFormed()) return false
  return path.split('/').every((step) => step !== '' && step !== '.' && step !== '..')
}

function readEnv(value: unknown): Record<string, string> {
  const entries = Object.entries(members(value, 'env'))
  if (entries.length > maxEnv) throw new InputInvalid('env')
  if (entries.some(([name]) => !namePattern.test(name))) throw new InputInvalid('a name in env')
  return Object.fromEntries(entries.map(([name, content]) => [name, text(content, 'env', maxTextLength)]))
}

/** The values come beside the input, which holds their names only; each name has exactly one value. */
function readSecrets(named: unknown, given: unknown): Record<string, Uint8Array> {
  const names = named === undefined ? [] : named
  if (!Array.isArray(names)) throw new InputInvalid('secretNames')
  const values = Object.entries(given === undefined ? {} : members(given, 'secrets'))
  const isSame = names.length === values.length && values.every(([name]) => names.includes(name))
  if (names.length > maxSecrets || !isSame) throw new InputInvalid('secrets')
  if (values.some(([name]) => !namePattern.test(name))) throw new InputInvalid('a name in secrets')
  return Object.fromEntries(
    values.map(([name, content]) => [name, Buffer.from(text(content, 'secrets', maxTextLength, true))]),
  )
}

function readBundle(named: unknown, given: Claim['bundle']): Claim['bundle'] {
  if (named === undefined && given === undefined) return undefined
  const isSame = given !== undefined && named === given.id
  // The id becomes part of a file's name, and the rest bounds what is read.
  const isBundle =
    isSame &&
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(given.id) &&
    /^[0-9a-f]{64}$/.test(given.sha256) &&
    [given.bytes, given.unpackedBytes, given.entries].every((count) => Number.isSafeInteger(count) && count >= 0)
  if (!isBundle) throw new InputInvalid('bundle')
  return given
}

function readInstall(value: unknown): boolean {
  const { manager, ...rest } = members(value, 'install')
  if (manager !== 'npm' || Object.keys(rest).length > 0) throw new InputInvalid('install')
  return true
}

function readFlag(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw new InputInvalid(what)
  return value
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

function text(value: unknown, what: string, maxLength: number, anyByte = false): string {
  if (typeof value !== 'string' || value.length > maxLength || (!anyByte && value.includes('\0')))
    throw new InputInvalid(what)
  return value
}
