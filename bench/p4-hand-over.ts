import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Claim, claimJobs, completeLease, startLease } from '@hivesync/contracts/worker-protocol.ts'
import { openClient } from './connection.ts'
import { createPostgres, findPostgres } from './databases.ts'
import { plainEnvironment, startNode, stopProcess } from './processes.ts'
import { enrol, reportOf } from './remote-worker.ts'
import { type BenchOptions, median, type Pace, paceOf, quantile, type Report, times, type Verdict } from './report.ts'
import { measureRounds } from './rounds.ts'
import { makeFolder, profiling, signInAdmin, startServer } from './server.ts'
import { createBenchTeam } from './team.ts'

const usualPace: Pace = { rounds: 5, sliceMs: 3000 }
const longestP50Ms = 5
const longestP99Ms = 50
/** Between two jobs, drawn around this: a system at rest, and no rhythm that its timers could fall in with. */
const restMs = 10
const waitSeconds = 20

type Name = keyof typeof labels
const labels = {
  floor: 'long poll of bare Fastify',
  embedded: 'HiveSync, SQLite',
  postgres: 'HiveSync, PostgreSQL',
}
/** One hand-over: from the sending of what ends the poll to the poll's answer. */
type HandOver = () => Promise<number>

/** P4: how long a submitted job takes to be in the hands of a worker that waits for it, on a system that does nothing else. */
export async function measure({ profileDir, ...asked }: BenchOptions): Promise<Report> {
  const { rounds, sliceMs } = paceOf(asked, usualPace)
  await using cleanup = new AsyncDisposableStack()
  const hands: Partial<Record<Name, HandOver>> = {
    floor: await openFloor(cleanup),
    embedded: await openHive(cleanup, undefined, profiling(profileDir, 'p4-embedded')),
  }
  if ((await findPostgres()) !== undefined) {
    const database = await createPostgres('p4')
    cleanup.defer(database.drop)
    hands.postgres = await openHive(cleanup, database.url, profiling(profileDir, 'p4-postgres'))
  }
  const entries = Object.entries(hands) as [Name, HandOver][]
  const variants = Object.fromEntries(entries.map(([name, handOver]) => [name, () => repeat(handOver, sliceMs)]))
  const samples: Partial<Record<Name, number[][]>> = await measureRounds(
    rounds,
    variants as Record<Name, () => Promise<number[]>>,
  )
  return report(samples, `${rounds} rounds of ${sliceMs} ms each; quantiles over all of them.`)
}

async function repeat(handOver: HandOver, forMs: number): Promise<number[]> {
  const latencies: number[] = []
  for (const startedAt = performance.now(); performance.now() - startedAt < forMs; ) {
    await delay(restMs * (0.5 + Math.random()))
    latencies.push(await handOver())
  }
  return latencies
}

async function openFloor(cleanup: AsyncDisposableStack): Promise<HandOver> {
  const options = {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'] as ['ignore', 'pipe', 'inherit', 'ipc'],
    env: plainEnvironment,
  }
  const started = await startNode([join('bench', 'bare-long-poll.ts')], 'listening', options)
  cleanup.defer(() => stopProcess(started.child))
  const client = openClient(String(started.line.url))
  cleanup.defer(() => client.close())
  const post = (target: string) => client.send({ method: 'POST', target, body: Buffer.alloc(0) })
  let polling = post('/wait')
  return async () => {
    const sentAt = performance.now()
    const [woken] = await Promise.all([polling.then(() => performance.now()), post('/wake')])
    polling = post('/wait')
    return woken - sentAt
  }
}

async function openHive(
  cleanup: AsyncDisposableStack,
  databaseUrl: string | undefined,
  nodeOptions: string[],
): Promise<HandOver> {
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({ folder: folder.path, databaseUrl, nodeOptions })
  cleanup.defer(server.stop)
  const api = await signInAdmin(server)
  cleanup.defer(() => api.client.close())
  const team = await createBenchTeam(server, api, 'p4')
  const client = openClient(server.url)
  cleanup.defer(() => client.close())
  const call = await enrol(client, api)
  const body = { report: reportOf(1), freeSlots: 1, waitSeconds }
  const poll = async (): Promise<{ claim: Claim; at: number }> => {
    for (;;) {
      const { jobs } = await call<{ jobs: Claim[] }>(claimJobs.path, claimJobs.status, body)
      const [claim] = jobs
      if (claim !== undefined) return { claim, at: performance.now() }
    }
  }
  let polling = poll()
  return async () => {
    const sentAt = performance.now()
    const [{ claim, at }, jobId] = await Promise.all([polling, team.submit()])
    if (claim.jobId !== jobId) throw new Error('the worker holds another job than the one submitted')
    const lease = { token: String(claim.token) }
    await call(startLease.path, startLease.status, undefined, lease)
    await call(completeLease.path, completeLease.status, { outcome: 'succeeded', result: {} }, lease)
    polling = poll()
    return at - sentAt
  }
}

function report(samples: Partial<Record<Name, number[][]>>, pace: string): Report {
  const floor = median((samples.floor ?? []).flat())
  const rows = (Object.keys(samples) as Name[]).map((name) => {
    const all = (samples[name] ?? []).flat()
    const cells = [0.5, 0.95, 0.99].map((share) => quantile(all, share).toFixed(1))
    return [labels[name], ...cells, times(median(all) / floor), String(all.length)]
  })
  const verdict = (name: 'embedded' | 'postgres'): Verdict => {
    const all = samples[name]?.flat()
    if (all === undefined) return { claim: 'P4', text: `${labels[name]}: no PostgreSQL answers`, holds: null }
    const [p50, p99] = [quantile(all, 0.5), quantile(all, 0.99)]
    const text = `${labels[name]}: p50 ${p50.toFixed(1)} ms (below ${longestP50Ms}), p99 ${p99.toFixed(1)} ms (below ${longestP99Ms})`
    return { claim: 'P4', text, holds: p50 < longestP50Ms && p99 < longestP99Ms }
  }
  return {
    title: 'P4 · from submitting a job to a waiting worker holding it, one at a time',
    head: ['', 'p50 ms', 'p95 ms', 'p99 ms', 'p50 of the floor', 'hand-overs'],
    rows,
    verdicts: [verdict('embedded'), verdict('postgres')],
    notes: [`submit over HTTP → answer of the long poll read by the worker; ${pace}`],
  }
}
