// What tests of jobs say again and again: submit, start, complete, and count what the counters should say.
import assert from 'node:assert/strict'
import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import type { Tier } from '@hivesync/contracts/tiers.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { Hive, Person, TestWorker } from './hive.ts'

export type Options = Partial<Pick<jobs.NewJob, 'priority' | 'ttlSeconds' | 'maxAttempts' | 'labels' | 'pool'>>
export const trueCommand = { command: ['true'] }
export const repository = 'https://example.net/honey/comb.git'

export function submit(hive: Hive, { token }: { token: string }, projectId: string, options: Options = {}) {
  const body = { kind: 'compute' as const, input: trueCommand, ...options }
  return hive.call(jobs.submitJob, { token, params: { projectId }, body })
}

export async function submitted(hive: Hive, person: Person, projectId: string, options?: Options): Promise<jobs.Job> {
  return (await submit(hive, person, projectId, options)).body
}

/** Puts a team on another plan; before its first job, for the counters keep the limits they began with. */
export async function setTier(hive: Hive, { teamId }: { teamId: string }, tier: Tier): Promise<void> {
  await hive.ctx.db.kysely.updateTable('teams').set({ tier }).where('id', '=', teamId).execute()
}

export async function getJob(hive: Hive, { token }: { token: string }, jobId: string): Promise<jobs.Job> {
  return (await hive.call(jobs.getJob, { token, params: { jobId } })).body
}

const leaseOf = ({ token }: { token: number }) => ({ token: String(token) })

export function start(worker: TestWorker, claim: { token: number }) {
  return worker.call(protocol.startLease, { params: leaseOf(claim) })
}

/** Claims exactly one job and starts it. */
export async function take(worker: TestWorker): Promise<protocol.Claim> {
  const [claim, ...others] = await worker.claim()
  assert.ok(claim !== undefined && others.length === 0)
  assert.equal((await start(worker, claim)).status, 204)
  return claim
}

export type Completion = BodyOf<typeof protocol.completeLease>
export function complete(worker: TestWorker, claim: { token: number }, body: Completion = { outcome: 'succeeded' }) {
  return worker.call(protocol.completeLease, { params: leaseOf(claim), body })
}

export function progress(worker: TestWorker, claim: { token: number }, body: BodyOf<typeof protocol.reportProgress>) {
  return worker.call(protocol.reportProgress, { params: leaseOf(claim), body })
}

export function log(worker: TestWorker, claim: { token: number }, chunks: protocol.LogChunk[]) {
  return worker.call(protocol.appendLog, { params: leaseOf(claim), body: { chunks } })
}

/** What the worker hears of one lease: `ok`, `cancel` or `lost`. */
export async function beat(worker: TestWorker, ...claims: { token: number }[]): Promise<string[]> {
  const { body } = await worker.call(protocol.heartbeat, { body: { leases: claims.map(({ token }) => token) } })
  return body.leases.map(({ verdict }) => verdict)
}

/** Every counter that differs from what it counts; and every job that is not exactly where its state says. Empty when all is well. */
export async function findDrift(hive: Hive): Promise<string[]> {
  const db = hive.ctx.db.kysely
  const queue = await db.selectFrom('jobQueue').selectAll().execute()
  const leases = await db.selectFrom('jobLeases').selectAll().execute()
  const drift: string[] = []
  for (const row of await db.selectFrom('queueCounters').selectAll().execute()) {
    const isOwn = (item: { projectId: string; kind: string }) =>
      item.projectId === row.projectId && item.kind === row.kind
    const real = `${queue.filter(isOwn).length}/${leases.filter(isOwn).length}`
    if (real !== `${row.waiting}/${row.running}`)
      drift.push(`queue ${row.kind}: ${row.waiting}/${row.running}, not ${real}`)
  }
  for (const row of await db.selectFrom('teamShares').selectAll().execute()) {
    const isOwn = (item: { teamId: string }) => item.teamId === row.teamId
    const real = `${queue.filter(isOwn).length}/${leases.filter(isOwn).length}`
    if (real !== `${row.waiting}/${row.running}`) drift.push(`team: ${row.waiting}/${row.running}, not ${real}`)
    if (row.running > row.maxRunning) drift.push(`team: ${row.running} running of ${row.maxRunning}`)
  }
  for (const job of await db.selectFrom('jobs').select(['id', 'state']).execute()) {
    const isQueued = queue.some((row) => row.jobId === job.id)
    const phase = leases.find((row) => row.jobId === job.id)?.phase
    const place = [isQueued ? 'queued' : '', phase === 'dispatched' ? 'leased' : phase === 'started' ? 'running' : '']
    const expected = ['queued', 'leased', 'running'].includes(job.state) ? job.state : ''
    if (place.join('') !== expected) drift.push(`job ${job.state}, but in: ${place.join(' ')}`)
  }
  return drift
}
