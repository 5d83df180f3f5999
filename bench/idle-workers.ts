import { type ChildProcess, execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type EncodedKeyPair, generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { openClient } from './connection.ts'
import { runSql } from './databases.ts'
import { ask, cpuMsOf, memoryOf, plainEnvironment, startNode, stopProcess } from './processes.ts'
import { enrol } from './remote-worker.ts'
import { type BenchOptions, median, quantile, type Report, whole } from './report.ts'
import { type BenchServer, makeFolder, profiling, signInAdmin, startServer } from './server.ts'
import { columnsOf, createBenchTeam } from './team.ts'

const wanted = 10_000
/** Beside its connections a process has files, pipes and the like open. */
const otherFiles = 200
const settleMs = 3000
const handOvers = 200
const restMs = 20
const insertedAtOnce = 500

export interface IdleSettings {
  url: string
  workers: { workerId: string; keys: EncodedKeyPair }[]
}

/** W1: ten thousand workers that wait for work on one server: the memory each costs it, and how fast a job still reaches one of them. */
export async function measure({ profileDir }: BenchOptions): Promise<Report> {
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({ folder: folder.path, nodeOptions: profiling(profileDir, 'w1') })
  cleanup.defer(server.stop)
  const count = Math.min(wanted, (await allowFiles(server.pid)) - otherFiles)
  const api = await signInAdmin(server)
  cleanup.defer(() => api.client.close())
  const team = await createBenchTeam(server, api, 'w1')
  const client = openClient(server.url)
  await enrol(client, api)
  client.close()
  const workers = await copyWorkers(server, count)

  const few = await startWaiting(cleanup, server, folder.path, workers.slice(0, 1))
  const fewMs = await measureHandOvers(few.child, team.submit)
  // It ends the last job too: one left behind would come back, and be taken for another.
  await delay(settleMs)
  await stopProcess(few.child)
  await delay(settleMs)
  const before = memoryOf(server.pid).rss
  const all = await startWaiting(cleanup, server, folder.path, workers)
  await delay(settleMs)
  const after = memoryOf(server.pid).rss
  const cpuBefore = cpuMsOf(server.pid)
  await delay(settleMs)
  const cpuShare = (cpuMsOf(server.pid) - cpuBefore) / settleMs
  const allMs = await measureHandOvers(all.child, team.submit)
  return report({ count, before, after, cpuShare, fewMs, allMs })
}

/** Lets the server, and what this process starts, open as many files as the system allows; answers how many that is. */
async function allowFiles(serverPid: number): Promise<number> {
  const limitOf = async (pid: number): Promise<number> => {
    const { stdout } = await promisify(execFile)('prlimit', [
      '--pid',
      String(pid),
      '--nofile',
      '--raw',
      '--noheadings',
      '--output=HARD',
    ])
    return stdout.trim() === 'unlimited' ? 2 ** 20 : Number(stdout)
  }
  const most = Math.min(await limitOf(serverPid), await limitOf(process.pid))
  for (const pid of [serverPid, process.pid])
    await promisify(execFile)('prlimit', ['--pid', String(pid), `--nofile=${most}:`])
  return most
}

/** Copies the one enrolled worker by SQL, each copy with a key of its own: ten thousand enrolments would measure those. */
async function copyWorkers({ databaseUrl }: BenchServer, count: number): Promise<IdleSettings['workers']> {
  const [row] = await runSql(databaseUrl, 'select id from workers')
  const template = String(row?.id)
  const columns = await columnsOf(databaseUrl, 'workers')
  const workers = Array.from({ length: count }, (_, index) => ({
    workerId: `${template.slice(0, 24)}${(index + 1).toString(16).padStart(12, '0')}`,
    keys: generateEncodedKeyPair(),
  }))
  for (let from = 0; from < count; from += insertedAtOnce) {
    const part = workers.slice(from, from + insertedAtOnce)
    const values = part.map(({ workerId, keys }) => `('${workerId}', '${keys.publicKey}')`)
    const copied = columns.map((name) => (name === 'id' ? 'column1' : name === 'public_key' ? 'column2' : name))
    await runSql(
      databaseUrl,
      `insert into workers (${columns.join(', ')}) select ${copied.join(', ')} from workers, (values ${values.join(', ')}) where id = '${template}'`,
    )
  }
  return workers
}

/** Resolves when every one of the workers has its poll with the server. */
async function startWaiting(
  cleanup: AsyncDisposableStack,
  server: BenchServer,
  folder: string,
  workers: IdleSettings['workers'],
): Promise<{ child: ChildProcess }> {
  const file = join(folder, `idle-${workers.length}.json`)
  await writeFile(file, JSON.stringify({ url: server.url, workers } satisfies IdleSettings), { mode: 0o600 })
  const stdio: ['ignore', 'pipe', 'inherit', 'ipc'] = ['ignore', 'pipe', 'inherit', 'ipc']
  const { child } = await startNode([join('bench', 'waiting-workers.ts'), file], 'waiting', {
    stdio,
    env: plainEnvironment,
  })
  cleanup.defer(() => stopProcess(child))
  return { child }
}

async function measureHandOvers(child: ChildProcess, submit: () => Promise<string>): Promise<number[]> {
  const latencies: number[] = []
  for (let number = 0; number < handOvers; number++) {
    await delay(restMs)
    const sentAt = performance.now()
    const held = ask<{ jobId: string }>(child, { event: 'tell' }).then(({ jobId }) => ({
      jobId,
      at: performance.now(),
    }))
    const [{ jobId, at }, submitted] = await Promise.all([held, submit()])
    if (jobId !== submitted) throw new Error('a worker holds another job than the one submitted')
    latencies.push(at - sentAt)
  }
  return latencies
}

interface Measured {
  count: number
  before: number
  after: number
  cpuShare: number
  fewMs: number[]
  allMs: number[]
}

function report({ count, before, after, cpuShare, fewMs, allMs }: Measured): Report {
  const row = (name: string, rss: number, latencies: number[]): string[] => [
    name,
    whole(rss),
    ...[0.5, 0.95, 0.99].map((share) => quantile(latencies, share).toFixed(1)),
  ]
  const kilobytes = ((after - before) * 1024) / count
  return {
    title: `W1 · ${whole(count)} workers that wait for work on one server`,
    head: ['', 'server RSS MB', 'held p50 ms', 'p95 ms', 'p99 ms'],
    rows: [row('one worker waits (memory: none)', before, fewMs), row(`${whole(count)} wait`, after, allMs)],
    verdicts: [
      {
        claim: 'W1',
        text: `${whole(count)} of ${whole(wanted)} workers wait, and every job submitted reached one of them`,
        holds: count === wanted ? true : null,
      },
    ],
    notes: [
      `${kilobytes.toFixed(1)} KB of the server's memory and ${((cpuShare * 1e6) / count).toFixed(0)} µs of CPU per second and waiting worker (${(cpuShare * 100).toFixed(0)} % of a core together).`,
      `Held: from sending the submission to this process hearing that a worker's poll was answered with it, ${handOvers} jobs; ${(median(allMs) / median(fewMs)).toFixed(2)} × the p50 with one worker.`,
    ],
  }
}
