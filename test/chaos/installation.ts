import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clocks, createClocks, type ProcessClock } from './clocks.ts'
import { type Disk, openDisk } from './disk.ts'
import { type Cluster, findPostgresPrograms, startCluster } from './postgres.ts'
import { plainEnvironment, type Supervised, supervise } from './processes.ts'
import type { WorkerProcess } from './worker-process.ts'

export type Dialect = 'sqlite' | 'postgres'

/** A process of ours and the clock it lives by. */
export interface Timed {
  readonly process: Supervised
  readonly clock: ProcessClock
}

/** Kept from run to run where one is named, for a start that compiles everything anew takes half a second more. */
const compileCache =
  process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), `hivesync-chaos-cache-${process.getuid?.() ?? 'user'}`)

/** Any text of 32 characters that does not look like a placeholder; only this run's servers know it. */
export const setupToken = 'mQ7vZ2kL9xT4wB8nR3cY6hJ1gD5fS0pA'

/** The servers of a run and their database. */
export interface Installation {
  readonly dialect: Dialect
  readonly databaseUrl: string
  readonly disk: Disk
  readonly cluster: Cluster | undefined
  readonly servers: readonly Timed[]
  readonly clocks: Clocks
  /** The addresses of the servers that listen now. */
  origins(): string[]
  startWorkers(name: string, settings: WorkerProcess): Timed
  startRealWorker(name: string, url: string, enrolmentToken: string): Timed
}

const replicas = { sqlite: 1, postgres: 2 } as const

/** Starts the database and the servers in the folder, each server through the product's own command; resolves when all listen. */
export async function startInstallation(dialect: Dialect, folder: string): Promise<Installation> {
  const disk = openDisk(join(folder, 'disk'))
  const clocks = createClocks(folder)
  const programs = findPostgresPrograms()
  if (dialect === 'postgres' && programs === undefined) throw new Error('PostgreSQL is not installed here')
  const cluster =
    dialect === 'postgres' ? await startCluster(programs ?? '', disk.folder, join(folder, 'postgres.log')) : undefined
  await cluster?.untilAnswering()
  const databaseUrl = cluster?.url ?? `sqlite:${join(disk.folder, 'hivesync.db')}`
  const secret = randomBytes(32).toString('base64url')
  const origins = new Map<string, string>()

  const startServer = (name: string): Timed => {
    const dataDir = join(disk.folder, name)
    mkdirSync(dataDir, { mode: 0o711 })
    const env = {
      HIVESYNC_DATA: dataDir,
      HIVESYNC_DATABASE_URL: databaseUrl,
      HIVESYNC_SECRET: secret,
      HIVESYNC_PORT: '0',
      HIVESYNC_RATE_SCALE: '1000000',
      HIVESYNC_SETUP_TOKEN: setupToken,
    }
    return startTimed(name, ['serve'], env, {
      isReady: (line) => line.startsWith('{"event":"listening"'),
      onReady: (line) => void origins.set(name, JSON.parse(line).url),
    })
  }
  const startTimed = (
    name: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    ready: { isReady(line: string): boolean; onReady?(line: string): void },
  ): Timed => {
    const clock = clocks.clockOf(name)
    const command = [process.execPath, ...clock.nodeOptions, join('bin', 'hivesync.ts'), ...args]
    const options = { env: { ...plainEnvironment, NODE_COMPILE_CACHE: compileCache, ...env, ...clock.env } }
    return {
      clock,
      process: supervise({ name, command: () => command, options, logFile: join(folder, `${name}.log`), ...ready }),
    }
  }

  const servers = Array.from({ length: replicas[dialect] }, (_, index) => startServer(`server-${index}`))
  for (const server of servers) await server.process.untilReady()
  return {
    ...{ dialect, databaseUrl, disk, cluster, servers, clocks },
    origins: () =>
      servers.filter(({ process }) => process.isReady).map(({ process }) => origins.get(process.name) ?? ''),
    startWorkers(name, settings) {
      const clock = clocks.clockOf(name)
      const file = join(folder, `${name}.json`)
      writeFileSync(file, JSON.stringify(settings), { mode: 0o600 })
      const program = [process.execPath, ...clock.nodeOptions, join(import.meta.dirname, 'worker-process.ts'), file]
      const supervised = supervise({
        ...{ name, command: (life) => [...program, String(life)], logFile: join(folder, `${name}.log`) },
        options: { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...plainEnvironment, ...clock.env } },
        isReady: (line) => line.includes('"working"'),
      })
      return { clock, process: supervised }
    },
    startRealWorker(name, url, enrolmentToken) {
      const env = {
        HIVESYNC_WORKER_SERVER: url,
        HIVESYNC_WORKER_DATA: join(folder, name),
        HIVESYNC_WORKER_TOKEN: enrolmentToken,
        HIVESYNC_WORKER_LABELS: sandboxLabel,
        HIVESYNC_WORKER_SLOTS: '2',
      }
      return startTimed(name, ['worker', 'start'], env, { isReady: (line) => line.includes('"worker_ready"') })
    },
  }
}

/** Carried by the real workers alone: light ones run nothing. */
export const sandboxLabel = 'sandbox'
