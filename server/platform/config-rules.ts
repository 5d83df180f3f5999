import { isIP, isIPv4 } from 'node:net'
import type { Config } from './config.ts'
import { findSecretWeakness } from './crypto/secret-strength.ts'

/** Words of the texts that examples and guides put where a token belongs. */
const placeholder = /change|replace|placeholder|example|password|default|insecure|your[-_]/i

/** Adds what a whole configuration must not be, a line per problem and none with a value of a secret (requirement M1). */
export function judge(config: Config, problems: string[]): void {
  judgeSecrets(config, problems)
  judgeAddresses(config, problems)
  judgeDatabase(config, problems)
  judgeRedis(config, problems)
  judgeOrigins(config, problems)
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

function judgeDatabase(config: Config, problems: string[]): void {
  const { databaseUrl, migrationUrl, maintenanceUrl } = config
  const isSqlite = databaseUrl.startsWith('sqlite:')
  if (!isSqlite) judgePostgres('HIVESYNC_DATABASE_URL', databaseUrl, config, problems)
  for (const [name, url] of [
    ['HIVESYNC_DATABASE_MIGRATION_URL', migrationUrl],
    ['HIVESYNC_DATABASE_MAINTENANCE_URL', maintenanceUrl],
  ] as const) {
    if (url === null) continue
    if (isSqlite) problems.push(`${name} is for PostgreSQL: SQLite has no roles`)
    else judgePostgres(name, url, config, problems)
  }
}

function judgePostgres(name: string, text: string, { profile }: Config, problems: string[]): void {
  const url = /^postgres(ql)?:\/\//.test(text) ? URL.parse(text) : null
  if (url === null) {
    const forms = name === 'HIVESYNC_DATABASE_URL' ? 'sqlite:PATH or ' : ''
    problems.push(`${name} must be ${forms}postgres://USER:PASSWORD@HOST/NAME`)
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
    problems.push(`${name} must say sslmode=verify-full in ${profile}: its host is another machine`)
}

function judgeRedis({ redisUrl, profile }: Config, problems: string[]): void {
  if (redisUrl === null) return
  const url = URL.parse(redisUrl)
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '') {
    problems.push('HIVESYNC_REDIS_URL must be redis://USER:PASSWORD@HOST:PORT/NUMBER or rediss://…')
    return
  }
  // Over a line that others may write on, they would say who is let through (ASVS 12.3.1).
  if (profile !== 'local' && url.protocol === 'redis:' && !isLoopback(url.hostname.replace(/^\[|\]$/g, '')))
    problems.push(`HIVESYNC_REDIS_URL must begin with rediss:// in ${profile}: its host is another machine`)
}

function judgeOrigins({ corsOrigins, profile }: Config, problems: string[]): void {
  for (const origin of corsOrigins) {
    const url = URL.parse(origin)
    // No pattern and no `null`: whoever can make a name that matches, or a sandboxed frame, would be let in.
    if (url === null || url.origin !== origin || origin.includes('*') || !/^https?:$/.test(url.protocol))
      problems.push(
        'HIVESYNC_CORS_ORIGINS must list whole origins such as https://hive.example.net, separated by commas',
      )
    else if (profile !== 'local' && url.protocol !== 'https:')
      problems.push(`HIVESYNC_CORS_ORIGINS must list https:// origins in ${profile}`)
  }
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
