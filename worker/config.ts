import { readFileSync, statSync } from 'node:fs'
import { availableParallelism, hostname } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { findGpus } from './sandbox/gpu.ts'

/** The whole configuration of a worker, read once at start and frozen; never printed, because it holds the enrolment token. */
export interface WorkerConfig {
  /** An origin: `https://host[:port]`, or `http:` on this machine. */
  readonly server: string
  readonly dataDir: string
  /** Needed for the first start only. */
  readonly enrolmentToken: string | null
  /** Where it was read from, to be removed once it is used. */
  readonly enrolmentTokenFile: string | null
  /** The address the server had before; see `moveIdentity`. */
  readonly movedFrom: string | null
  readonly name: string
  readonly slots: number
  readonly labels: readonly string[]
  /** Takes the jobs of this pool only. */
  readonly pool: string
  /** Undelivered results may take this much of the disk before no more jobs are taken. */
  readonly outboxMaxBytes: number
  /** Below this much free disk no jobs are taken; null: a gibibyte or 5 %, whichever is less. */
  readonly minFreeBytes: number | null
  /** Of the metrics endpoint on 127.0.0.1; null: there is none. */
  readonly metricsPort: number | null
  /** After this time without a job it ends by itself; null: never. */
  readonly exitWhenIdleMs: number | null
  /** How long running jobs may go on after the first signal before they are given back. */
  readonly drainMs: number
  /** Absolute folders under which `file:` repositories may lie. */
  readonly localRepos: readonly string[]
  /** `host` or `host:port` of forges; empty means any public host on port 443. */
  readonly allowHosts: readonly string[]
  /** `host:port` of forges whose address may be private. */
  readonly privateHosts: readonly string[]
  /** Certificates trusted beside the system's, for the server and for forges. */
  readonly caFile: string | null
  /** Device nodes of GPUs that jobs are given who ask for one; empty: none, whatever this machine has. */
  readonly gpus: readonly string[]
  /** The longest a job may hold them, whatever its own limit says. */
  readonly gpuMaxMs: number
  /** Control groups a parent process has delegated to this user. */
  readonly cgroups: Readonly<Partial<Record<CgroupController, string>>> | null
}
const cgroupControllers = ['memory', 'pids', 'cpu', 'unified'] as const
type CgroupController = (typeof cgroupControllers)[number]

/** The configuration is refused: one line per problem, none with a secret's value. Exit code 78 (EX_CONFIG). */
export class WorkerConfigError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'WorkerConfigError'
    this.problems = problems
  }
}

export type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'HIVESYNC_WORKER_'
/** The names of all settings of a worker. */
export const workerSettings: ReadonlySet<string> = new Set(
  [
    'SERVER',
    'DATA',
    'TOKEN',
    'TOKEN_FILE',
    'NAME',
    'SLOTS',
    'LABELS',
    'POOL',
    'OUTBOX_MAX_MB',
    'MIN_FREE_MB',
    'METRICS_PORT',
    'EXIT_WHEN_IDLE_SECONDS',
    'DRAIN_SECONDS',
    'MOVED_FROM',
    'LOCAL_REPOS',
    'ALLOW_HOSTS',
    'PRIVATE_HOSTS',
    'CA_FILE',
    'GPUS',
    'GPU_MAX_SECONDS',
    'CGROUPS',
  ].map((name) => prefix + name),
)

const labelPattern = /^[a-z0-9][a-z0-9._:-]{0,62}$/ // contracts/jobs.ts, Label
const hostPattern = /^(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?)(:[1-9][0-9]{0,4})?$/
const maxSlots = 128 // sandbox/sandbox.ts: as root each has a user of its own, below systemd's dynamic ones
const maxLabels = 19 // of 20 in contracts/jobs.ts; a machine with a GPU adds one by itself
const poolPattern = /^[a-z0-9][a-z0-9-]{0,39}$/ // contracts/jobs.ts, Pool
const mebibyte = 1024 * 1024
const daySeconds = 86_400
/** Below the 45 s that deploy/systemd waits before it kills. */
const defaultDrainMs = 30_000

/** The configuration of this process, from its environment. */
export function readWorkerConfig(): WorkerConfig {
  return parseWorkerConfig(process.env)
}

/** Reads and judges an environment; throws WorkerConfigError with every problem at once. An empty value counts as missing. */
export function parseWorkerConfig(env: Environment): WorkerConfig {
  const problems: string[] = []
  const text = (name: string): string | null => env[prefix + name]?.trim() || null
  const list = (name: string): string[] =>
    (text(name) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
  for (const name of Object.keys(env)) {
    if (name.startsWith(prefix) && !workerSettings.has(name)) {
      problems.push(`${name} is not a setting of this version: remove it or correct its spelling`)
    }
  }
  const caFile = text('CA_FILE')
  const config: WorkerConfig = {
    server: readServer(text('SERVER'), problems),
    dataDir: resolve(text('DATA') ?? 'data/worker'),
    enrolmentToken: readToken(text('TOKEN'), text('TOKEN_FILE'), problems),
    enrolmentTokenFile: text('TOKEN_FILE'),
    movedFrom: readMovedFrom(text('MOVED_FROM'), problems),
    name: readName(text('NAME'), problems),
    slots: readSlots(text('SLOTS'), problems),
    labels: list('LABELS'),
    pool: readPool(text('POOL'), problems),
    outboxMaxBytes: (readNumber('OUTBOX_MAX_MB', text('OUTBOX_MAX_MB'), 1, 1_048_576, problems) ?? 1024) * mebibyte,
    minFreeBytes: inBytes(readNumber('MIN_FREE_MB', text('MIN_FREE_MB'), 0, 1_048_576, problems)),
    metricsPort: readNumber('METRICS_PORT', text('METRICS_PORT'), 1, 65_535, problems),
    exitWhenIdleMs: inMs(readNumber('EXIT_WHEN_IDLE_SECONDS', text('EXIT_WHEN_IDLE_SECONDS'), 1, daySeconds, problems)),
    drainMs: inMs(readNumber('DRAIN_SECONDS', text('DRAIN_SECONDS'), 0, daySeconds, problems)) ?? defaultDrainMs,
    localRepos: list('LOCAL_REPOS'),
    allowHosts: list('ALLOW_HOSTS').map((host) => host.toLowerCase()),
    privateHosts: list('PRIVATE_HOSTS').map((host) => host.toLowerCase()),
    caFile: caFile === null ? null : resolve(caFile),
    gpus: list('GPUS'),
    gpuMaxMs: (readNumber('GPU_MAX_SECONDS', text('GPU_MAX_SECONDS'), 1, 86_400, problems) ?? 3600) * 1000,
    cgroups: readCgroups(text('CGROUPS'), problems),
  }
  judgeLists(config, problems)
  if (config.caFile !== null && !isReadable(config.caFile)) problems.push(`${prefix}CA_FILE cannot be read`)
  if (problems.length > 0) throw new WorkerConfigError(problems)
  return Object.freeze(config)
}

function judgeLists(config: WorkerConfig, problems: string[]): void {
  if (config.labels.length > maxLabels || new Set(config.labels).size !== config.labels.length) {
    problems.push(`${prefix}LABELS must list at most ${maxLabels} labels, each once`)
  }
  if (!config.labels.every((label) => labelPattern.test(label))) {
    problems.push(`${prefix}LABELS must hold only a-z, 0-9, ".", "_", ":" and "-" in a label`)
  }
  if (!config.localRepos.every((folder) => isAbsolute(folder) && resolve(folder) !== '/')) {
    problems.push(`${prefix}LOCAL_REPOS must list absolute folders, separated by commas`)
  }
  const here = config.gpus.length === 0 ? [] : findGpus().map(({ node }) => node)
  for (const node of config.gpus.filter((named) => !here.includes(named))) {
    problems.push(`${prefix}GPUS names ${node}, which is no GPU here; there are: ${here.join(', ') || 'none'}`)
  }
  if (!config.allowHosts.every((host) => hostPattern.test(host))) {
    problems.push(`${prefix}ALLOW_HOSTS must list hosts such as github.com or git.example.net:8443`)
  }
  if (!config.privateHosts.every((host) => hostPattern.test(host) && /:[0-9]+$/.test(host))) {
    problems.push(`${prefix}PRIVATE_HOSTS must list host:port, such as git.example.lan:443`)
  }
}

function readServer(value: string | null, problems: string[]): string {
  if (value === null) problems.push(`${prefix}SERVER is missing: set it to the server's address, https://host[:port]`)
  const url = URL.parse(value ?? '')
  if (url === null) {
    if (value !== null) problems.push(`${prefix}SERVER is not a URL`)
    return ''
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    problems.push(`${prefix}SERVER must be an origin such as https://hive.example.net`)
  }
  const isLoopback = /^(localhost|127\.[0-9.]+|\[::1\])$/.test(url.hostname)
  // Anyone on the way could hand this machine jobs of their own.
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback)) {
    problems.push(`${prefix}SERVER must begin with https:// (http:// is for this machine only)`)
  }
  return url.origin
}

function readToken(direct: string | null, file: string | null, problems: string[]): string | null {
  if (direct !== null && file !== null) problems.push(`${prefix}TOKEN and ${prefix}TOKEN_FILE are both set: keep one`)
  const token = direct ?? (file === null ? null : readTokenFile(file, problems))
  if (token !== null && token.length > 200) problems.push(`${prefix}TOKEN is not an enrolment token`)
  return token
}

function readTokenFile(path: string, problems: string[]): string | null {
  try {
    // Others on the machine must not be able to take it; a group may (container secrets are often mounted so).
    if ((statSync(path).mode & 0o007) !== 0)
      problems.push(`${prefix}TOKEN_FILE can be read by everybody: chmod o-rwx it`)
    const token = readFileSync(path, 'utf8').trim()
    if (token !== '') return token
    problems.push(`${prefix}TOKEN_FILE names an empty file`)
  } catch (error) {
    // Tokens work once, so the file may well be removed after the first start; enrolment itself complains when it needs one.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    problems.push(`${prefix}TOKEN_FILE names a file that cannot be read`)
  }
  return null
}

function readName(value: string | null, problems: string[]): string {
  const name =
    value ??
    hostname()
      .replace(/[^\x21-\x7e]+/g, '-')
      .slice(0, 100)
  if (name.length > 100 || /\p{Cc}/u.test(name)) {
    problems.push(`${prefix}NAME must have at most 100 characters and no control characters`)
  }
  return name === '' ? 'worker' : name
}

function readSlots(value: string | null, problems: string[]): number {
  if (value === null) return Math.min(availableParallelism(), maxSlots)
  if (/^[1-9][0-9]{0,3}$/.test(value) && Number(value) <= maxSlots) return Number(value)
  problems.push(`${prefix}SLOTS must be a whole number from 1 to ${maxSlots}`)
  return 1
}

function readPool(value: string | null, problems: string[]): string {
  if (value !== null && !poolPattern.test(value)) problems.push(`${prefix}POOL must hold only a-z, 0-9 and "-"`)
  return value ?? 'default'
}

function readMovedFrom(value: string | null, problems: string[]): string | null {
  const origin = value === null ? null : URL.parse(value)?.origin
  if (origin === undefined) problems.push(`${prefix}MOVED_FROM must be the origin that the server had before`)
  return origin ?? null
}

/** A whole number in its range, null when it is not set. */
function readNumber(name: string, value: string | null, least: number, most: number, problems: string[]) {
  if (value === null) return null
  if (/^[0-9]{1,7}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
  problems.push(`${prefix}${name} must be a whole number from ${least} to ${most}`)
  return null
}

const inMs = (seconds: number | null): number | null => (seconds === null ? null : seconds * 1000)
const inBytes = (mebibytes: number | null): number | null => (mebibytes === null ? null : mebibytes * mebibyte)

function readCgroups(value: string | null, problems: string[]): WorkerConfig['cgroups'] {
  if (value === null) return null
  const complaint = `${prefix}CGROUPS must be a JSON object from ${cgroupControllers.join(', ')} to absolute folders`
  try {
    const parsed: unknown = JSON.parse(value)
    const entries = Object.entries(typeof parsed === 'object' && parsed !== null ? parsed : { '': parsed })
    const isValid = ([name, folder]: [string, unknown]) =>
      cgroupControllers.some((controller) => controller === name) && typeof folder === 'string' && isAbsolute(folder)
    if (entries.every(isValid)) return Object.fromEntries(entries)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  problems.push(complaint)
  return null
}

function isReadable(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false // the answer to the question asked
  }
}
