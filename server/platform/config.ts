import { resolve } from 'node:path'
import { type AuditSettings, auditNames, auditSecretNames, readAudit } from './config-audit.ts'
import { type EgressSettings, readEgress } from './config-egress.ts'
import {
  type ObservabilitySettings,
  observabilityNames,
  observabilitySecretNames,
  readObservability,
} from './config-observability.ts'
import { type Environment, type Reader, reader, readPasswordCost } from './config-reader.ts'
import { type RetentionSettings, readRetention, retentionNames } from './config-retention.ts'
import { isLoopback, judge } from './config-rules.ts'
import { readStore, type StoreSettings } from './config-store.ts'

export { isLoopback } from './config-rules.ts'

export type Profile = 'local' | 'staging' | 'production'

/** The external OpenID Connect provider people may sign in with. */
export interface OidcSettings {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** What the button says. */
  readonly name: string
}

/** The whole configuration, parsed once at start and frozen. Secrets never appear in logs: nothing here is ever printed. */
export interface Config {
  readonly profile: Profile
  readonly host: string
  readonly port: number
  readonly publicUrl: string
  readonly dataDir: string
  readonly databaseUrl: string
  /** The role that owns the schema, where the server runs as one that may not change it (`hivesync admin database-role`). */
  readonly migrationUrl: string | null
  /** The role that prunes the audit log; the server itself never uses it. */
  readonly maintenanceUrl: string | null
  readonly audit: AuditSettings
  /** Where bundles and artifacts lie. */
  readonly store: StoreSettings
  /** Newest first; empty in the local profile, where the first start makes one. */
  readonly secrets: readonly string[]
  readonly setupToken: string | null
  readonly pharosToken: string | null
  readonly registration: 'open' | 'invite' | 'closed'
  /** Whether an account must prove its email address before its first login. */
  readonly emailVerification: 'required' | 'optional'
  /** Whether passwords must mix upper case, lower case and digits; off, because it makes them worse (NIST SP 800-63B-4 §3.1.1.2). */
  readonly passwordComposition: boolean
  /** A larger filter of common and breached passwords than the one that comes along (`hivesync admin build-blocklist`). */
  readonly passwordBlocklist: string | null
  /** Argon2id's cost where the operator calibrated it (`hivesync admin calibrate`); null for the default. */
  readonly passwordCost: { memoryKib: number; passes: number } | null
  /** Threads of libuv's pool, of which password hashing leaves one free. */
  readonly threadPoolSize: number
  /** Where mail goes; null writes it to files in the data folder. Holds a password. */
  readonly smtpUrl: string | null
  readonly mailFrom: string
  readonly oidc: OidcSettings | null
  readonly rateScale: number
  /** Origins whose pages may call this server from a browser. */
  readonly corsOrigins: readonly string[]
  /** Where replicas count requests together; null on one node. Holds a password. */
  readonly redisUrl: string | null
  /** How many replicas share the limits; asked only while Redis is away. */
  readonly replicas: number
  readonly accessTokenSeconds: number
  readonly trustedProxies: readonly string[]
  /** Where webhooks may go beside the public internet. */
  readonly egress: EgressSettings
  readonly observability: ObservabilitySettings
  readonly retention: RetentionSettings
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

/** Settings that are secrets; each may also stand in a file that NAME_FILE names. */
export const secretNames = [
  'HIVESYNC_SECRET',
  'HIVESYNC_SETUP_TOKEN',
  'HIVESYNC_DATABASE_URL',
  'HIVESYNC_REDIS_URL',
  'HIVESYNC_SMTP_URL',
  'HIVESYNC_OIDC_CLIENT_SECRET',
  'PHAROS_ADMIN_TOKEN',
  ...auditSecretNames,
  ...observabilitySecretNames,
] as const
/** Every other setting of the server. */
export const plainNames = [
  'HIVESYNC_PROFILE',
  'HIVESYNC_HOST',
  'HIVESYNC_PORT',
  'HIVESYNC_PUBLIC_URL',
  'HIVESYNC_DATA',
  'HIVESYNC_STORE_URL',
  'HIVESYNC_STORE_ENCRYPT',
  'HIVESYNC_REGISTRATION',
  'HIVESYNC_RATE_SCALE',
  'HIVESYNC_REPLICAS',
  'HIVESYNC_CORS_ORIGINS',
  'HIVESYNC_ACCESS_TOKEN_MINUTES',
  'HIVESYNC_TRUSTED_PROXIES',
  'HIVESYNC_EGRESS_ALLOW',
  'HIVESYNC_DNS_SERVERS',
  'HIVESYNC_EMBEDDED_WORKER',
  'HIVESYNC_LOCAL_REPOS',
  'HIVESYNC_EMAIL_VERIFICATION',
  'HIVESYNC_PASSWORD_COMPOSITION',
  'HIVESYNC_PASSWORD_BLOCKLIST',
  'HIVESYNC_PASSWORD_COST',
  'HIVESYNC_MAIL_FROM',
  'HIVESYNC_OIDC_ISSUER',
  'HIVESYNC_OIDC_CLIENT_ID',
  'HIVESYNC_OIDC_NAME',
  ...auditNames,
  ...observabilityNames,
  ...retentionNames,
] as const
/** Names that other parts read: the worker, the command line, the tests. */
const foreignPrefixes = ['HIVESYNC_WORKER_', 'HIVESYNC_CLI_', 'HIVESYNC_TEST_']

const known: ReadonlySet<string> = new Set([
  ...secretNames,
  ...secretNames.map((name) => `${name}_FILE`),
  ...plainNames,
])

/** The environment of this process: whoever shows it shows no secret. */
export function readEnvironment(): Environment {
  return process.env
}

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
    migrationUrl: read.secret('HIVESYNC_DATABASE_MIGRATION_URL'),
    maintenanceUrl: read.secret('HIVESYNC_DATABASE_MAINTENANCE_URL'),
    audit: readAudit(read, problems),
    store: readStore(read, dataDir, problems),
    secrets: Object.freeze(
      read
        .secret('HIVESYNC_SECRET')
        ?.split(',')
        .map((secret) => secret.trim()) ?? [],
    ),
    setupToken: read.secret('HIVESYNC_SETUP_TOKEN'),
    pharosToken: read.secret('PHAROS_ADMIN_TOKEN'),
    registration: read.oneOf('HIVESYNC_REGISTRATION', ['open', 'invite', 'closed'], 'closed'),
    ...readIdentity(read, problems),
    rateScale: read.integer('HIVESYNC_RATE_SCALE', 1, 1_000_000, 1),
    corsOrigins: Object.freeze(read.list('HIVESYNC_CORS_ORIGINS')),
    redisUrl: read.secret('HIVESYNC_REDIS_URL'),
    replicas: read.integer('HIVESYNC_REPLICAS', 1, 1000, 1),
    accessTokenSeconds: 60 * read.integer('HIVESYNC_ACCESS_TOKEN_MINUTES', 1, 60, 15),
    trustedProxies: Object.freeze(read.list('HIVESYNC_TRUSTED_PROXIES')),
    egress: readEgress(read, problems),
    observability: readObservability(read, problems),
    retention: readRetention(read),
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

type IdentitySettings = Pick<
  Config,
  | 'emailVerification'
  | 'passwordComposition'
  | 'passwordBlocklist'
  | 'passwordCost'
  | 'threadPoolSize'
  | 'smtpUrl'
  | 'mailFrom'
  | 'oidc'
>

function readIdentity(read: Reader, problems: string[]): IdentitySettings {
  const smtpUrl = read.secret('HIVESYNC_SMTP_URL')
  if (smtpUrl !== null && !/^smtps?:$/.test(URL.parse(smtpUrl)?.protocol ?? ''))
    problems.push('HIVESYNC_SMTP_URL must be smtp://USER:PASSWORD@HOST:PORT or smtps://…')
  const mailFrom = read.text('HIVESYNC_MAIL_FROM') ?? 'HiveSync <hivesync@localhost>'
  if (!/^[^\r\n<>]{0,100}<[^\s<>@]{1,64}@[^\s<>@]{1,190}>$|^[^\s<>@]{1,64}@[^\s<>@]{1,190}$/.test(mailFrom))
    problems.push('HIVESYNC_MAIL_FROM must be an address such as HiveSync <hive@example.net>')
  if (smtpUrl !== null && read.text('HIVESYNC_MAIL_FROM') === null)
    problems.push('HIVESYNC_MAIL_FROM is missing: set it to the address that mail is sent from')
  const blocklist = read.text('HIVESYNC_PASSWORD_BLOCKLIST')
  return {
    emailVerification: read.oneOf('HIVESYNC_EMAIL_VERIFICATION', ['required', 'optional'], 'optional'),
    passwordComposition: read.oneOf('HIVESYNC_PASSWORD_COMPOSITION', ['0', '1'], '0') === '1',
    passwordBlocklist: blocklist === null ? null : resolve(blocklist),
    passwordCost: readPasswordCost(read.text('HIVESYNC_PASSWORD_COST'), problems),
    threadPoolSize: read.integer('UV_THREADPOOL_SIZE', 1, 1024, 4),
    smtpUrl,
    mailFrom,
    oidc: readOidc(read, problems),
  }
}

function readOidc(read: Reader, problems: string[]): OidcSettings | null {
  const issuer = read.text('HIVESYNC_OIDC_ISSUER')
  const clientId = read.text('HIVESYNC_OIDC_CLIENT_ID')
  const clientSecret = read.secret('HIVESYNC_OIDC_CLIENT_SECRET')
  if (issuer === null && clientId === null && clientSecret === null) return null
  if (issuer === null || clientId === null || clientSecret === null) {
    problems.push(
      'HIVESYNC_OIDC_ISSUER, HIVESYNC_OIDC_CLIENT_ID and HIVESYNC_OIDC_CLIENT_SECRET go together: set all or none',
    )
    return null
  }
  const url = URL.parse(issuer)
  // What the issuer answers decides who signs in: never over a line that others may write on.
  if (url === null || (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname))))
    problems.push('HIVESYNC_OIDC_ISSUER must be an https:// address')
  return { issuer, clientId, clientSecret, name: read.text('HIVESYNC_OIDC_NAME') ?? url?.hostname ?? 'OpenID' }
}
