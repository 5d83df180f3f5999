import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Supervised, supervise } from './processes.ts'

const run = promisify(execFile)

/** A PostgreSQL server of this run's own. */
export interface Cluster {
  readonly url: string
  readonly server: Supervised
  /** The processes that serve clients now. */
  backends(): number[]
  /** Resolves when it answers. */
  untilAnswering(): Promise<void>
}

/** The folder of PostgreSQL's programs, the newest version first; undefined when it is not installed, or nobody may run it here. */
export function findPostgresPrograms(): string | undefined {
  const folders = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => versionOf(b) - versionOf(a))
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => existsSync(join(folder, name))))
}

const versionOf = (folder: string): number => Number(/postgresql\/(\d+)/.exec(folder)?.[1])

/**
 * Makes a cluster in the folder and starts it, as the user `postgres` when this process is root, whom PostgreSQL refuses. It listens on a port of this
 * machine and has a password of its own: its superuser could run programs.
 */
export async function startCluster(programs: string, folder: string, logFile: string): Promise<Cluster> {
  const isRoot = process.getuid?.() === 0
  const user = isRoot ? await readUser('postgres') : undefined
  // Said here too: a change of user takes the signal away.
  const asUser =
    user === undefined
      ? []
      : ['setpriv', '--pdeathsig', 'KILL', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--']
  const data = join(folder, 'cluster')
  const password = randomBytes(24).toString('hex')
  const passwordFile = join(folder, 'password')
  mkdirSync(data, { mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (user !== undefined) for (const path of [data, passwordFile]) chownSync(path, user.uid, user.gid)
  chmodSync(folder, 0o711)
  const options = [
    '--auth=scram-sha-256',
    '--username=chaos',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--locale=C.UTF-8',
  ]
  const [program = '', ...args] = [...asUser, join(programs, 'initdb'), `--pgdata=${data}`, '--no-sync', ...options]
  await run(program, args, { cwd: '/' })

  const port = await findPort()
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_wal_size: '192MB',
    min_wal_size: '32MB',
  }
  const command = [...asUser, join(programs, 'postgres'), '-D', data]
  for (const [name, value] of Object.entries(settings)) command.push('-c', `${name}=${value}`)
  const isReady = (line: string): boolean => line.includes('database system is ready to accept connections')
  const server = supervise({ name: 'PostgreSQL', command: () => command, options: { cwd: '/' }, logFile, isReady })
  const url = `postgres://chaos:${password}@127.0.0.1:${port}/postgres`
  return {
    url,
    server,
    backends: () => backendsOf(server.child?.pid),
    untilAnswering: () => untilAnswering(url, server),
  }
}

async function readUser(name: string): Promise<{ uid: number; gid: number }> {
  const [, , uid, gid] = (await run('getent', ['passwd', name])).stdout.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}

/** Another process could take it before PostgreSQL does; then the start fails, by name. */
async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

function backendsOf(postmaster: number | undefined): number[] {
  if (postmaster === undefined) return []
  try {
    const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').split(' ').filter(Boolean)
    return children.map(Number).filter((pid) => /^postgres: chaos /.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
  } catch {
    return [] // it ended while the list was read
  }
}

async function untilAnswering(url: string, server: Supervised): Promise<void> {
  for (;;) {
    await server.untilReady()
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 })
    client.on('error', () => {}) // the query that follows reports it
    try {
      await client.connect()
      await client.query('select 1')
      return
    } catch {
      await delay(100) // it is still recovering
    } finally {
      await client.end().catch(() => {})
    }
  }
}
