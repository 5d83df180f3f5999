import { mkdir, mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { memoryOf, plainEnvironment, startNode, stopProcess } from './processes.ts'
import { type BenchOptions, median, medianRatio, type Report, spread, times, type Verdict } from './report.ts'
import { measureRounds } from './rounds.ts'
import { makeFolder, profiling, signInAdmin, startServer } from './server.ts'

const usualRounds = 7
const mostStartMs = 400
const mostServerMegabytes = 110
const mostWorkerMegabytes = 80
/** Idle means after what follows a start (first timers, garbage of the boot) is over. */
const settleMs = 3000

const labels = {
  node: 'node alone (a script that prints the line)',
  bare: 'a bare Fastify route',
  uncached: 'the server, no compile cache',
  shipped: 'the server as it ships',
  first: 'the server as it ships, its first start',
}
type Name = keyof typeof labels

/** P11: from spawn to the line that says it listens, and what both processes hold when nothing happens. */
export async function measure({ profileDir, rounds }: BenchOptions): Promise<Report> {
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const used = join(folder.path, 'used')
  await mkdir(used)
  const start = async (data: string, env: Record<string, string>, nodeOptions: readonly string[] = []) => {
    const server = await startServer({ folder: data, env, nodeOptions })
    await server.stop()
    return server.startedInMs
  }
  const samples = await measureRounds<Name, number>(rounds ?? usualRounds, {
    node: () => startScript(['--eval', `console.log('{"event":"listening"}'); process.stdin.resume()`]),
    bare: () => startScript(['bench/bare-fastify.ts']),
    uncached: () => start(used, { NODE_DISABLE_COMPILE_CACHE: '1' }),
    // Its compile cache is warm: the round that is not counted has filled it.
    shipped: () => start(used, {}),
    first: async () => start(await mkdtemp(join(folder.path, 'new-')), {}),
  })
  if (profileDir !== undefined) await start(used, {}, profiling(profileDir, 'p11-server'))
  return report(samples, await measureIdle(folder.path, profileDir))
}

async function startScript(args: readonly string[]): Promise<number> {
  const { child, elapsedMs } = await startNode(args, 'listening', {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
    env: { ...plainEnvironment, NODE_DISABLE_COMPILE_CACHE: '1' },
  })
  await stopProcess(child)
  return elapsedMs
}

interface Idle {
  server: number
  worker: number
}

/** The real server and a real worker, connected and without work, both with a warm compile cache as after any start but the first. */
async function measureIdle(folder: string, profileDir: string | undefined): Promise<Idle> {
  await using cleanup = new AsyncDisposableStack()
  const server = await startServer({ folder: join(folder, 'used') })
  cleanup.defer(server.stop)
  const fresh = await startServer({ folder: await mkdtemp(join(folder, 'idle-')) })
  cleanup.defer(fresh.stop)
  const api = await signInAdmin(fresh)
  const { enrolmentToken } = await api.call<{ enrolmentToken: string }>(
    'POST',
    createEnrolment.path,
    {},
    createEnrolment.status,
  )
  api.client.close()
  const startWorker = (nodeOptions: readonly string[]) =>
    startNode([...nodeOptions, join('start', 'worker-process.ts')], 'worker_ready', {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: {
        ...plainEnvironment,
        NODE_COMPILE_CACHE: join(folder, 'worker', 'cache'),
        HIVESYNC_WORKER_SERVER: fresh.url,
        HIVESYNC_WORKER_DATA: join(folder, 'worker'),
        HIVESYNC_WORKER_TOKEN: enrolmentToken,
        HIVESYNC_WORKER_SLOTS: '1',
      },
    })
  await stopProcess((await startWorker([])).child)
  const worker = await startWorker(profiling(profileDir, 'p11-worker'))
  cleanup.defer(() => stopProcess(worker.child))
  await new Promise((resolve) => setTimeout(resolve, settleMs))
  return { server: memoryOf(server.pid).rss, worker: memoryOf(worker.pid).rss }
}

function report(samples: Record<Name, number[]>, idle: Idle): Report {
  const ms = (value: number): string => value.toFixed(0)
  const rows = (Object.keys(labels) as Name[]).map((name) => [
    labels[name],
    ms(median(samples[name])),
    spread(samples[name], ms),
    times(medianRatio(samples[name], samples.node)),
  ])
  const shippedMs = median(samples.shipped)
  const held = (what: string, megabytes: number, most: number): Verdict => ({
    claim: 'P11',
    text: `an idle ${what} holds ${megabytes.toFixed(0)} MB (less than ${most})`,
    holds: megabytes < most,
  })
  return {
    title: 'P11 · start, and memory at rest',
    head: ['', 'ms to the line', 'least–most', 'of node alone'],
    rows,
    verdicts: [
      {
        claim: 'P11',
        text: `listening after ${ms(shippedMs)} ms with a warm compile cache (less than ${mostStartMs})`,
        holds: shippedMs < mostStartMs,
      },
      held('server', idle.server, mostServerMegabytes),
      held('worker, connected', idle.worker, mostWorkerMegabytes),
    ],
    notes: [
      `${samples.node.length} rounds, medians; SQLite; memory is the resident set ${settleMs / 1000} s after the start.`,
    ],
  }
}
