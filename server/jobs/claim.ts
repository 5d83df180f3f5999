import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { runTogether, type Statement } from '../platform/db/statement.ts'
import { listTeamCandidates, placeableLabels } from './candidates.ts'
import { type ClaimedJob, claimExtras } from './claim-extras.ts'
import {
  type Candidate,
  deleteQueuedJobs,
  insertAttempts,
  insertLeases,
  listAbleWorkers,
  listReadyTeams,
  setLeased,
} from './claim-queries.ts'
import { countTogether } from './counters.ts'
import { finishJob } from './end.ts'
import { insertEvents } from './events.ts'
import { allocate, costOf } from './fairness.ts'
import { policy } from './policy.ts'
import { rightsEnded, tellOf } from './rights-lost.ts'

/** What the workers that ask can take: those of equal kinds, labels and team are served together. */
export interface Demand {
  kinds: readonly string[]
  labels: readonly string[]
  pool: string
  /** A team's own worker serves only that team. */
  teamId: string | null
  /** Worker ids, one entry per free slot, in the order in which they shall be served. */
  slots: readonly string[]
}

/** Teams looked at in one claim: enough to get past many whose waiting jobs nobody here can take. */
const maxTeams = 1000
/** Room that was there when we looked was taken before our commit: look again, and after so many looks leave it to the next claim. */
class RoomLost extends Error {}
const maxTries = 5

interface Assigned extends Candidate {
  workerId: string
  /** What its team pays for the slot in virtual time. */
  cost: number
}

/**
 * Takes at most one job per slot, fairly by team, and leases each to its worker under a new fencing token: queue row gone, lease and
 * attempt written, counters moved in one transaction, so that there is no moment in which a job is in neither place. The caps of teams and queues are judged by
 * the statement that takes the places, the last one. A job whose rights have ended, or that cannot be read, is not leased but ends; its slot stays free until the
 * next look, which follows at once.
 */
export async function claim(ctx: Context, demand: Demand): Promise<Map<string, Claim[]>> {
  for (let tries = 1; ; tries++) {
    try {
      const { leased, ended } = await ctx.db.transaction((tx) => claimOnce(ctx, tx, demand))
      tellOf(ctx, ended)
      const claims = new Map<string, Claim[]>()
      for (const { workerId, claim } of leased) claims.set(workerId, [...(claims.get(workerId) ?? []), claim])
      return claims
    } catch (error) {
      if (!(error instanceof RoomLost)) throw error
      if (tries === maxTries) return new Map()
    }
  }
}

interface Taken {
  leased: { workerId: string; claim: Claim }[]
  ended: string[]
}

async function claimOnce(ctx: Context, tx: Db, demand: Demand): Promise<Taken> {
  const now = ctx.clock.now()
  const able = await listAbleWorkers(tx, [...new Set(demand.slots)], now)
  const slots = demand.slots.filter((workerId) => able.has(workerId))
  if (slots.length === 0) return { leased: [], ended: [] }
  const assigned = await assign(tx, { ...demand, slots }, now)
  if (assigned.length === 0) return { leased: [], ended: [] }
  const { jobs, ended } = await takeJobs(ctx, tx, assigned, now)
  const leasable = assigned.flatMap((each) => {
    const job = jobs.get(each.jobId)
    return job === undefined ? [] : [{ ...each, job }]
  })
  const taken = deleteQueuedJobs(assigned.map(({ jobId }) => jobId))
  const leased = await insertLeased(tx, leasable, taken, now)
  const changes = assigned.map(({ teamId, projectId, kind, jobId, cost }) =>
    jobs.has(jobId)
      ? { teamId, projectId, kind, waiting: -1, running: 1, pass: cost }
      : { teamId, projectId, kind, waiting: -1, running: 0 },
  )
  if (!(await countTogether(tx, changes))) throw new RoomLost()
  return { leased, ended }
}

async function assign(tx: Db, demand: Demand, now: number): Promise<Assigned[]> {
  const labels = await placeableLabels(tx, demand.labels)
  const wanted = demand.slots.length
  const contenders = []
  let found = 0
  let after: { pass: number; teamId: string } | undefined
  for (let seen = 0; seen < maxTeams && found < wanted; ) {
    const limit = Math.max(wanted, 8)
    const teams = await listReadyTeams(tx, { teamId: demand.teamId, after, limit })
    for (const team of teams) {
      const { kinds, pool } = demand
      const items = await listTeamCandidates(tx, team, { pool, kinds, labels, now, limit: Math.min(wanted, team.free) })
      found += items.length
      contenders.push({ ...team, items })
    }
    seen += teams.length
    after = teams[teams.length - 1]
    if (after === undefined || teams.length < limit) break
  }
  const weights = new Map(contenders.map(({ teamId, weight }) => [teamId, weight]))
  return allocate(contenders, wanted)
    .flatMap(({ taken }) => taken)
    .map((candidate, index) => ({
      ...candidate,
      workerId: demand.slots[index] ?? '',
      cost: costOf(weights.get(candidate.teamId) ?? 1),
    }))
}

interface ReadJob extends ClaimedJob {
  attempt: number
  extras: Partial<Claim>
}

/** Marks the jobs as leased and reads them. One that must not run, or cannot be read, ends here: tried again, it would be the same for ever. */
async function takeJobs(
  ctx: Context,
  tx: Db,
  assigned: readonly Assigned[],
  now: number,
): Promise<{ jobs: Map<string, ReadJob>; ended: string[] }> {
  const ids = assigned.map(({ jobId }) => jobId)
  const rows = await setLeased(tx, ids, now)
  const readable: (ClaimedJob & { attempt: number })[] = []
  const ended: string[] = []
  for (const row of rows) {
    if (row.hasRights === 0) {
      await finishJob(ctx, tx, system, row, { state: 'canceled', error: rightsEnded })
      ended.push(row.id)
      continue
    }
    const input = parseInput(row.input)
    if (input === undefined) await endUnreadable(ctx, tx, row, ended)
    else readable.push({ ...row, input })
  }
  const extras = await claimExtras(ctx, tx, readable)
  const jobs = new Map<string, ReadJob>()
  for (const job of readable) {
    const more = extras.get(job.id) ?? {}
    if (more instanceof Error) await endUnreadable(ctx, tx, job, ended, more)
    else jobs.set(job.id, { ...job, extras: more })
  }
  return { jobs, ended }
}

async function endUnreadable(
  ctx: Context,
  tx: Db,
  job: Pick<ClaimedJob, 'id' | 'teamId' | 'projectId' | 'kind' | 'requestId'>,
  ended: string[],
  cause?: Error,
): Promise<void> {
  ctx.log.error({ event: 'job_unreadable', jobId: job.id }, cause)
  const error = { code: 'internal', message: 'What was stored of the job cannot be read' }
  await finishJob(ctx, tx, system, job, { state: 'failed', error })
  ended.push(job.id)
}

function parseInput(text: string): Record<string, unknown> | undefined {
  try {
    const input: unknown = JSON.parse(text)
    return typeof input === 'object' && input !== null && !Array.isArray(input) ? { ...input } : undefined
  } catch {
    return undefined
  }
}

/** Writes attempts and leases, and with them the statement that takes the jobs, also those that end unleased, out of the queue. */
async function insertLeased(
  tx: Db,
  assigned: readonly (Assigned & { job: ReadJob })[],
  taken: Statement,
  now: number,
): Promise<{ workerId: string; claim: Claim }[]> {
  if (assigned.length === 0) {
    await runTogether(tx, [taken])
    return []
  }
  const attempts = assigned.map(({ jobId, workerId, job }) => ({
    jobId,
    workerId,
    number: job.attempt + 1,
    claimedAt: now,
  }))
  const tokens = new Map((await insertAttempts(tx, attempts)).map(({ jobId, token }) => [jobId, token]))
  const leases = assigned.map(({ jobId, projectId, teamId, kind, workerId, pool, job }) => {
    const token = tokens.get(jobId)
    if (token === undefined) throw new Error('a claimed job has no attempt')
    const expiresAt = now + policy.startWithinMs
    return { token, jobId, projectId, teamId, kind, workerId, pool, expiresAt, attempt: job.attempt + 1, job }
  })
  await runTogether(tx, [
    taken,
    insertLeases(leases),
    insertEvents(
      now,
      leases.map(({ jobId, attempt }) => ({ jobId, kind: 'state', data: { state: 'leased', attempt } })),
    ),
  ])
  return leases.map(({ token, jobId, projectId, kind, workerId, attempt, job }) => ({
    workerId,
    claim: {
      token,
      jobId,
      projectId,
      kind: kind as Claim['kind'],
      input: job.input,
      attempt,
      leaseTtlSeconds: policy.leaseTtlMs / 1000,
      startWithinSeconds: policy.startWithinMs / 1000,
      ...(job.requestId !== null && { requestId: job.requestId }),
      ...(job.traceParent !== null && { traceParent: job.traceParent }),
      ...job.extras,
    },
  }))
}
