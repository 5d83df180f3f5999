import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import pg from 'pg'

const run = promisify(execFile)
const connectTimeoutMs = 5_000

/** Something the tests need from the machine, with what is skipped without it. */
export interface Prerequisite {
  name: string
  /** Debian's package that brings it. */
  package: string
  /** What is not tested without it. */
  skips: string
  check(): Promise<void>
}

export interface Finding {
  name: string
  package: string
  skips: string
  /** Why it is missing, or undefined when it is there. */
  missing: string | undefined
}

/** Everything the tests use besides Node itself; services are looked for where the tests will look. */
export function listPrerequisites(env: NodeJS.ProcessEnv): Prerequisite[] {
  const databaseUrl = env.HIVESYNC_TEST_DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
  const redisUrl = env.HIVESYNC_TEST_REDIS_URL ?? 'redis://127.0.0.1:6379'
  return [
    { name: 'git', package: 'git', skips: 'ingest', check: () => starts('git', '--version') },
    {
      name: 'bubblewrap',
      package: 'bubblewrap',
      skips: 'sandbox and everything a worker runs',
      // Being installed is not enough: AppArmor or a container may forbid it to make namespaces.
      check: () => starts('bwrap', '--unshare-all', '--ro-bind', '/', '/', 'true'),
    },
    { name: 'setpriv', package: 'util-linux', skips: 'sandbox', check: () => starts('setpriv', '--version') },
    { name: 'prlimit', package: 'util-linux', skips: 'sandbox', check: () => starts('prlimit', '--version') },
    { name: 'openssl', package: 'openssl', skips: 'fetching over TLS', check: () => starts('openssl', 'version') },
    {
      name: 'python3',
      package: 'python3',
      skips: 'system calls that a sandbox refuses',
      // The system's own, for the tests run it inside a sandbox; python3-minimal has no ctypes.
      check: () => starts('/usr/bin/python3', '-c', 'import ctypes'),
    },
    {
      name: 'Chromium',
      package: 'chromium',
      skips: 'the setup page',
      check: () => access('/usr/bin/chromium', constants.X_OK),
    },
    {
      name: 'PostgreSQL',
      package: 'postgresql',
      skips: 'every suite on postgres',
      check: () => askPostgres(databaseUrl),
    },
    { name: 'Redis', package: 'redis-server', skips: 'limits shared by replicas', check: () => askRedis(redisUrl) },
  ]
}

/** Checks all at once; a prerequisite that is missing is a finding, never an exception. */
export async function findMissing(prerequisites: readonly Prerequisite[]): Promise<Finding[]> {
  const findings = prerequisites.map(async ({ name, package: packageName, skips, check }) => {
    const missing = await check().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message || error.name : String(error)).split('\n')[0],
    )
    return { name, package: packageName, skips, missing }
  })
  return (await Promise.all(findings)).filter(({ missing }) => missing !== undefined)
}

/** What to tell about missing prerequisites: by name, with the reason, what is skipped, and one command for all of them. */
export function describeMissing(findings: readonly Finding[]): string {
  const lines = findings.map(({ name, skips, missing }) => `  ${name}: ${missing} (skipped: ${skips})`)
  const packages = [...new Set(findings.map((finding) => finding.package))].sort()
  return [
    'missing for the tests:',
    ...lines,
    `install with: sudo apt-get install -y ${packages.join(' ')} (and start the services)`,
  ].join('\n')
}

/** Whether missing prerequisites fail the run instead of skipping tests: in CI, or when asked for. */
export function isRequired(env: NodeJS.ProcessEnv): boolean {
  return env.HIVESYNC_TEST_REQUIRE_SERVICES === '1' || env.CI === 'true' || env.CI === '1'
}

async function starts(command: string, ...parameters: string[]): Promise<void> {
  await run(command, parameters, { timeout: connectTimeoutMs })
}

async function askPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs })
  client.on('error', () => {}) // the call in progress rejects with it
  try {
    await client.connect()
    await client.query('select 1')
  } finally {
    await client.end()
  }
}

// One PING of the Redis protocol: no client is worth a dependency for that.
function askRedis(url: string): Promise<void> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port || 6379), timeout: connectTimeoutMs })
    socket.on('connect', () => socket.write('PING\r\n'))
    socket.on('data', (reply) => {
      socket.destroy()
      if (reply.toString('latin1').startsWith('+PONG')) resolve()
      else reject(new Error(`answered ${JSON.stringify(reply.toString('latin1').slice(0, 60))}`))
    })
    socket.on('timeout', () => socket.destroy(new Error('does not answer')))
    socket.on('error', reject)
  })
}
