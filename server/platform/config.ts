import { readFileSync, statSync } from 'node:fs'
import { isIP, isIPv4 } from 'node:net'
import { resolve } from 'node:path'
import { findSecretWeakness } from './crypto/secret-strength.ts'

export type Profile = 'local' | 'staging' | 'production'

/** The whole configuration, parsed once at start and frozen. Secrets never appear in logs: nothing here is ever printed. */
export interface Config {
  readonly profile: Profile
  readonly host: string
  readonly port: number
  readonly publicUrl: string
  readonly dataDir: string
  readonly databaseUrl: string
  /** Newest first; empty in the local profile, where the first start makes one. */
  readonly secrets: readonly string[]
  readonly setupToken: string | null
  readonly pharosToken: string | null
  readonly registration: 'open' | 'closed'
  readonly rateScale: number
  readonly accessTokenSeconds: number
  readonly trustedProxies: readonly string[]
  readonly embeddedWorker: boolean
  readonly localRepos: readonly string[]
}

/** The configuration is refused: one line per problem, none with a value of a secret; the process ends with exit code 78 (EX_CONFIG). */
export class ConfigError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Words of the texts that examples and guides put where a token belongs. */
const placeholder = /change|replace|placeholder|example|password|default|insecure|your[-_]/i

type Environment = Readonly<Record<string, string | undefined>>

const secretNames = ['HIVESYNC_SECRET', 'HIVESYNC_SETUP_TOKEN', 'HIVESYNC_DATABASE_URL', 'PHAROS_ADMIN_TOKEN'] as const
const plainNames = [
  'HIVESYNC_PROFILE',
  'HIVESYNC_HOST',
  'HIVESYNC_PORT',
  'HIVESYNC_PUBLIC_URL',
  'HIVESYNC_DATA',
  'HIVESYNC_REGISTRATION',
  'HIVESYNC_RATE_SCALE',
  'HIVESYNC_ACCESS_TOKEN_MINUTES',
  'HIVESYNC_TRUSTED_PROXIES',
  'HIVESYNC_EMBEDDED_WORKER',
  'HIVESYNC_LOCAL_REPOS',
] as const
/** Names that other parts read: the worker, the command line, the tests. */
const foreignPrefixes = ['HIVESYNC_WORKER_', 'HIVESYNC_CLI_', 'HIVESYNC_TEST_']

const known: ReadonlySet<string> = new Set([
  ...secretNames,
  ...secretNames.map((name) => `${name}_FILE`),
  ...plainNames,
])

/** The configuration of this process, from its environment. */
export function readConfig(): Config {
  return parseConfig(process.env)
}

/** Reads and judges an environment; throws ConfigError with every problem at once (requirement M1). An empty value counts as missing. */
export function parseConfig(env: Environment): Config {
  const problems: string[] = []
  const read = reader(env, problems)

  for (const name of Object.keys(env)) {
    const ours = name.startsWith('HIVESYNC_') && !foreignPrefixes.some((prefix) => name.startsWith(prefix))
    if (ours && !known.has(name))
      problems.push(`${name} is not a setting of this version: remove it or correct its spelling`)
  }

  const profile = read.oneOf('HIVESYNC_PROFILE', ['local', 'staging', 'production'], 'local')
  const host = read.text('HIVESYNC_HOST') ?? '127.0.0.1'
  const port = read.integer('HIVESYNC_PORT', 0, 65_535, 7070)
  const dataDir = resolve(read.text('HIVESYNC_DATA') ?? 'data')
  const config: Config = {
    profile,
    host,
    port,
    publicUrl: read.origin('HIVESYNC_PUBLIC_URL', `http://${host.includes(':') ? `[${host}]` : host}:${port}`),
    dataDir,
    databaseUrl: read.secret('HIVESYNC_DATABASE_URL') ?? `sqlite:${resolve(dataDir, 'hivesync.db')}`,
    secrets: Object.freeze(
      read
        .secret('HIVESYNC_SECRET')
        ?.split(',')
        .map((secret) => secret.trim()) ?? [],
    ),
    setupToken: read.secret('HIVESYNC_SETUP_TOKEN'),
    pharosToken: read.secret('PHAROS_ADMIN_TOKEN'),
    registration: read.oneOf('HIVESYNC_REGISTRATION', ['open', 'closed'], 'closed'),
    rateScale: read.integer('HIVESYNC_RATE_SCALE', 1, 1_000_000, 1),
    accessTokenSeconds: 60 * read.integer('HIVESYNC_ACCESS_TOKEN_MINUTES', 1, 60, 15),
    trustedProxies: Object.freeze(read.list('HIVESYNC_TRUSTED_PROXIES')),
    embeddedWorker: read.oneOf('HIVESYNC_EMBEDDED_WORKER', ['0', '1'], '1') === '1',
    localRepos: Object.freeze(read.list('HIVESYNC_LOCAL_REPOS')),
  }
  judge(config, problems)
  // Turned off for the whole process, a certificate proves nothing to the database, a forge or a webhook (ASVS 12.3.2).
  if (profile !== 'local' && env.NODE_TLS_REJECT_UNAUTHORIZED === '0')
    problems.push(`NODE_TLS_REJECT_UNAUTHORIZED must not be 0 in ${profile}: it accepts every certificate`)
  if (problems.length > 0) throw new ConfigError([...new Set(problems)])
  return Object.freeze(config)
}

function judge(config: Config, problems: string[]): void {
  judgeSecrets(config, problems)
  judgeAddresses(config, problems)
  judgeDatabase(config, problems)
  for (const folder of config.localRepos) {
    if (!folder.startsWith('/')) problems.push('HIVESYNC_LOCAL_REPOS must list absolute folders, separated by commas')
  }
  if (config.profile === 'local') return
  if (config.rateScale !== 1)
    problems.push(`HIVESYNC_RATE_SCALE must be 1 in ${config.profile}: it switches the rate limits off`)
}

function judgeSecrets(config: Config, problems: string[]): void {
  if (config.secrets.length === 0 && config.profile !== 'local') {
    problems.push(
      `HIVESYNC_SECRET is missing: set it to the output of \`openssl rand -base64 32 | tr '+/' '-_' | tr -d '='\`, or name a file in HIVESYNC_SECRET_FILE`,
    )
  }
  config.secrets.forEach((secret, index) => {
    const weakness = findSecretWeakness(secret)
    if (weakness !== undefined)
      problems.push(`HIVESYNC_SECRET${config.secrets.length > 1 ? ` (number ${index + 1})` : ''}: ${weakness}`)
  })
  if (new Set(config.secrets).size !== config.secrets.length)
    problems.push('HIVESYNC_SECRET lists the same secret twice')
  for (const [name, value] of [
    ['PHAROS_ADMIN_TOKEN', config.pharosToken],
    ['HIVESYNC_SETUP_TOKEN', config.setupToken],
  ] as const) {
    if (value === null) continue
    if (value.length < 32) problems.push(`${name} must have at least 32 characters`)
    if (new Set(value).size < 10 || placeholder.test(value))
      problems.push(`${name} is too easy to guess: use a random text`)
    if (config.secrets.includes(value)) problems.push(`${name} must not be the same as HIVESYNC_SECRET`)
  }
}

/** Whether a host, without brackets, is this machine and no other. */
export function isLoopback(host: string): boolean {
  // Only an address: 127.example.net may lead anywhere.
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

function judgeDatabase({ databaseUrl, profile }: Config, problems: string[]): void {
  if (databaseUrl.startsWith('sqlite:')) return
  const url = /^postgres(ql)?:\/\//.test(databaseUrl) ? URL.parse(databaseUrl) : null
  if (url === null) {
    problems.push('HIVESYNC_DATABASE_URL must be sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME')
    return
  }
  if (profile === 'local') return
  // As pg reads it: a host in the query wins, and a path is a socket of this machine.
  const named = url.searchParams.getAll('host')
  const hosts = named.length > 0 ? named : [url.hostname.replace(/^\[|\]$/g, '')]
  if (hosts.every((host) => isLoopback(host) || /^(\/|%2f)/i.test(host))) return
  // Any weaker mode gives the password and everybody's data to whoever stands between (ASVS 12.3.1).
  const modes = url.searchParams.getAll('sslmode')
  if (modes.length === 0 || modes.some((mode) => mode !== 'verify-full'))
    problems.push(`HIVESYNC_DATABASE_URL must say sslmode=verify-full in ${profile}: its host is another machine`)
}

function judgeAddresses(config: Config, problems: string[]): void {
  // The local profile speaks HTTP and trusts its machine; on an open address that would be a production server without its locks.
  if (config.profile === 'local' && !isLoopback(config.host))
    problems.push(
      'HIVESYNC_HOST must be a loopback address in the local profile: set HIVESYNC_PROFILE=production to serve a network',
    )
  if (config.profile !== 'local' && !config.publicUrl.startsWith('https://'))
    problems.push(`HIVESYNC_PUBLIC_URL must begin with https:// in ${config.profile}`)
  for (const cidr of config.trustedProxies) {
    const [address = '', bits, more] = cidr.split('/')
    const most = isIP(address) === 6 ? 128 : 32
    if (
      isIP(address) === 0 ||
      more !== undefined ||
      (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= most))
    ) {
      problems.push('HIVESYNC_TRUSTED_PROXIES must list addresses or CIDR ranges, separated by commas')
    }
  }
}

function reader(env: Environment, problems: string[]) {
  const text = (name: string): string | null => {
    const value = env[name]?.trim()
    return value === undefined || value === '' ? null : value
  }
  return {
    text,
    /** Scheme, host and port, written as clients compare them: lower case, no slash at the end. */
    origin(name: string, fallback: string): string {
      const value = text(name)
      const url = URL.parse(value ?? fallback)
      const isOrigin =
        url !== null &&
        /^https?:$/.test(url.protocol) &&
        /^\/*$/.test(url.pathname) &&
        url.search + url.hash + url.username + url.password === ''
      if (isOrigin) return url.origin
      problems.push(
        `${value === null ? 'HIVESYNC_HOST' : name} must be ${value === null ? 'an address or a host name' : 'an origin such as https://hive.example.net'}`,
      )
      return fallback
    },
    list: (name: string): string[] =>
      (text(name) ?? '')
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
    oneOf<const T extends string>(name: string, choices: readonly T[], fallback: T): T {
      const value = text(name)
      const choice = choices.find((candidate) => candidate === value)
      if (value !== null && choice === undefined) problems.push(`${name} must be one of ${choices.join(', ')}`)
      return choice ?? fallback
    },
    integer(name: string, least: number, most: number, fallback: number): number {
      const value = text(name)
      if (value === null) return fallback
      if (/^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
      problems.push(`${name} must be a whole number from ${least} to ${most}`)
      return fallback
    },
    secret(name: string): string | null {
      const direct = text(name)
      const file = text(`${name}_FILE`)
      if (direct !== null && file !== null) problems.push(`${name} and ${name}_FILE are both set: keep one`)
      if (direct !== null || file === null) return direct
      return readSecretFile(`${name}_FILE`, file, problems)
    },
  }
}

function readSecretFile(name: string, path: string, problems: string[]): string | null {
  try {
    // Others on the machine must not be able to read it; a group may (container secrets are often mounted so).
    if ((statSync(path).mode & 0o007) !== 0)
      problems.push(`${name} names a file that everybody can read: chmod o-rwx it`)
    const value = readFileSync(path, 'utf8').trim()
    if (value !== '') return value
    problems.push(`${name} names an empty file`)
  } catch {
    problems.push(`${name} names a file that cannot be read`)
  }
  return null
}
