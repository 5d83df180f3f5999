import { readFile, stat } from 'node:fs/promises'
import { IngestInput } from '@hivesync/contracts/job-kinds.ts'
import type { NewJob } from '@hivesync/contracts/jobs.ts'
import { conforms, faultsOf, Type } from '@hivesync/contracts/schema.ts'
import { object } from '@hivesync/contracts/values.ts'
import { type ImportedTask, requireInput } from '../jobs/jobs.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { AppError } from '../platform/errors.ts'
import { parseJson } from '../platform/http/json.ts'
import { CommandRefused } from './operator-command.ts'

const maxFileBytes = 64 * 1024 * 1024

const Address = IngestInput.properties.repository
const Task = object({
  repo_url: Type.Optional(Address),
  repository: Type.Optional(Address),
  url: Type.Optional(Address),
  ref: IngestInput.properties.ref,
  submitted_at: Type.Optional(Type.Union([Type.String({ format: 'date-time' }), Type.Integer({ minimum: 0 })])),
  ttl: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
})

/** What a file of another queue holds: JSON lines, or one JSON array; each task an address as a string, or an object. `line` counts the array's elements there. */
export interface QueueFile {
  tasks: { line: number; task: ImportedTask }[]
  problems: { line: number; message: string }[]
}

/** Reads and judges a whole file, as strictly as a request; throws the file system's errors. */
export async function readQueueFile(ctx: Context, path: string): Promise<QueueFile> {
  if ((await stat(path)).size > maxFileBytes) throw new CommandRefused(`The file is larger than ${maxFileBytes} bytes.`)
  const bytes = await readFile(path)
  const digest = sha256Hex(bytes)
  const file: QueueFile = { tasks: [], problems: [] }
  for (const { line, value } of valuesOf(bytes)) {
    const read = value === undefined ? 'is not strict JSON in UTF-8' : readTask(ctx, value)
    if (typeof read === 'string') file.problems.push({ line, message: read })
    else {
      const key = `import:${sha256Hex(`${digest} ${line} ${JSON.stringify(value)}`)}`
      file.tasks.push({ line, task: { key, ...read } })
    }
  }
  return file
}

function valuesOf(bytes: Buffer): { line: number; value: unknown }[] {
  const whole = bytes.toString('latin1').trimStart().startsWith('[') ? parse(bytes) : undefined
  if (Array.isArray(whole)) return whole.map((value: unknown, index) => ({ line: index + 1, value }))
  const values: { line: number; value: unknown }[] = []
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start)
    const end = newline === -1 ? bytes.length : newline
    const text = bytes.subarray(start, end)
    if (text.toString('latin1').trim() !== '') values.push({ line, value: parse(text) })
    start = end + 1
  }
  return values
}

function parse(bytes: Buffer): unknown {
  try {
    return parseJson(bytes)
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** The task, or what is wrong with it in words that repeat nothing of it. */
function readTask(ctx: Context, value: unknown): Omit<ImportedTask, 'key'> | string {
  const given = typeof value === 'string' ? { repo_url: value } : value
  if (!conforms(Task, given)) {
    const [fault] = faultsOf(Task, given)
    return `${fault?.path.slice(1) || 'it'} ${fault?.message ?? 'is not what it must be'}`
  }
  const addresses = [given.repo_url, given.repository, given.url].filter((address) => address !== undefined)
  const [repository, ...others] = addresses
  if (repository === undefined || others.length > 0) return 'needs exactly one of repo_url, repository and url'
  const submittedAt = readTime(given.submitted_at)
  if (Number.isNaN(submittedAt) || (submittedAt ?? 0) > ctx.clock.now()) return 'submitted_at is not in the past'
  const job: NewJob = { kind: 'ingest', input: { repository, ref: given.ref }, ttlSeconds: given.ttl }
  try {
    requireInput(ctx, job)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return error.options.fields?.[0]?.message ?? error.code
  }
  return { job, submittedAt }
}

/** Text in ISO 8601, or seconds since 1970 as old clients count; later than the year 5138 they are milliseconds. */
function readTime(given: string | number | undefined): number | null {
  if (given === undefined) return null
  if (typeof given === 'string') return Date.parse(given)
  return given < 100_000_000_000 ? given * 1000 : given
}
