import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import {
  type Candidate,
  deleteQueuedJobs,
  insertAttempts,
  insertLeases,
  listAbleWorkers,
  listCandidates,
  listReadyTeams,
  listWaitingLabels,
  setLeased,
  takeShare,
} from './claim-queries.ts'
import { moveCounters, moveQueueCounter } from './counters.ts'
import { finishJob } from './end.ts'
import { recordEvents } from './events.ts'
import { allocate, type Share } from './fairness.ts'
import { policy } from './policy.ts'
import { rightsEnded, tellOf } from './rights-lost.ts'

/** What the workers that ask can take: those of equal kinds, labels and team are served together. */
export interface Demand {
  kinds: readonly string[]
  labels: readonly string[]
  /** A team's own worker serves only that team. */
  teamId: string | null
  /** Worker ids, one entry per free slot, in the order in which they shall be served. */
  slots: readonly string[]
}

/** Teams looked at in one claim: enough to get past many whose waiting jobs nobody here can take. */
const maxTeams = 1000

/**
 * Takes at most one job per slot, fairly by team, and leases each to its worker under a new fencing token: queue row gone, lease and
 * attempt written, counters moved in one transaction, so that there is no moment in which a job is in neither place. A job whose rights have
 * ended is not leased but ends; its slot stays free until the next look, which follows at once.
 */
export async function claim(ctx: Context, demand: Demand): Promise<Map<string, Claim[]>> {
  const { claims, ended } = await ctx.db.transaction(async (tx) => {
    const now = ctx.clock.now()
    const claims = new Map<string, Claim[]>()
    const able = await listAbleWorkers(tx, [...new Set(demand.slots)], now)
    const slots = demand.slots.filter((workerId) => able.has(workerId))
    if (slots.length === 0) return { claims, ended: [] }
    const shares = await shareOut(tx, { ...demand, slots }, now)
    const taken = shares.flatMap((share) => share.taken)
    if (taken.length === 0) return { claims, ended: [] }
    await countTaken(tx, shares)
    await deleteQueuedJobs(
      tx,
      taken.map((candidate) => candidate.jobId),
    )
    const assigned = taken.map((candidate, i) => ({ ...candidate, workerId: slots[i] ?? '' }))
    const { leased, ended } = await lease(ctx, tx, assigned, now)
    for (const { workerId, claim } of leased) claims.set(workerId, [...(claims.get(workerId) ?? []), claim])
    return { claims, ended }
  })
  tellOf(ctx, ended)
  return claims
}

async function shareOut(tx: Db, demand: Demand, now: number): Promise<Share<Candidate>[]> {
  const labels = ['[]', ...(await placeableLabels(tx, demand.labels))]
  const wanted = demand.slots.length
  const contenders = []
  let found = 0
  let after: { pass: number; teamId: string } | undefined
  for (let seen = 0; seen < maxTeams && found < wanted; ) {
    const teams = await listReadyTeams(tx, { teamId: demand.teamId, after, limit: Math.max(wanted, 8) })
    for (const team of teams) {
      const items = await listCandidates(tx, {
        teamId: team.teamId,
        kinds: demand.kinds,
        labels,
        now,
        limit: Math.min(wanted, team.free),
      })
      found += items.length
      contenders.push({ ...team, items })
    }
    seen += teams.length
    after = teams[teams.length - 1]
    if (after === undefined || teams.length < Math.max(wanted, 8)) break
  }
  return allocate(contenders, wanted)
}

/** The label sets that jobs wait with and a worker of these labels satisfies; there are few distinct ones. */
async function placeableLabels(tx: Db, labels: readonly string[]): Promise<string[]> {
  if (labels.length === 0) return []
  const carried = new Set(labels)
  return (await listWaitingLabels(tx)).filter((text) => {
    const wanted: string[] = JSON.parse(text)
    return wanted.every((label) => carried.has(label))
  })
}

async function countTaken(tx: Db, shares: readonly Share<Candidate>[]): Promise<void> {
  for (const share of [...shares].sort((a, b) => (a.teamId < b.teamId ? -1 : 1)))
    await takeShare(tx, share.teamId, share.taken.length, share.pass)
  const counts = new Map<string, { projectId: string; kind: string; count: number }>()
  for (const { projectId, kind } of shares.flatMap((share) => share.taken)) {
    const entry = counts.get(`${projectId} ${kind}`) ?? { projectId, kind, count: 0 }
    entry.count++
    counts.set(`${projectId} ${kind}`, entry)
  }
  for (const [, { projectId, kind, count }] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await moveQueueCounter(tx, { projectId, kind, waiting: -count, running: count })
  }
}

async function lease(
  ctx: Context,
  tx: Db,
  assigned: readonly (Candidate & { workerId: string })[],
  now: number,
): Promise<{ leased: { workerId: string; claim: Claim }[]; ended: string[] }> {
  const taken = await setLeased(
    tx,
    assigned.map(({ jobId }) => jobId),
    now,
  )
  const rightless = taken.filter((job) => job.hasRights === 0)
  for (const job of rightless) await endUnleased(ctx, tx, job)
  const ended = rightless.map((job) => job.id)
  const jobs = new Map(taken.filter((job) => job.hasRights === 1).map((job) => [job.id, job]))
  const leasable = assigned.filter(({ jobId }) => !ended.includes(jobId))
  return { leased: leasable.length === 0 ? [] : await insertLeased(tx, leasable, jobs, now), ended }
}

// It was counted as running with the rest, whose counters we hold.
async function endUnleased(ctx: Context, tx: Db, job: TakenJob): Promise<void> {
  await moveCounters(tx, { teamId: job.teamId, projectId: job.projectId, kind: job.kind, waiting: 0, running: -1 })
  await finishJob(ctx, tx, system, job, { state: 'canceled', error: rightsEnded })
}

type TakenJob = Awaited<ReturnType<typeof setLeased>>[number]

async function insertLeased(
  tx: Db,
  assigned: readonly (Candidate & { workerId: string })[],
  jobs: ReadonlyMap<string, TakenJob>,
  now: number,
): Promise<{ workerId: string; claim: Claim }[]> {
  const attempts = assigned.map(({ jobId, workerId }) => ({
    jobId,
    workerId,
    number: (jobs.get(jobId)?.attempt ?? 0) + 1,
    claimedAt: now,
  }))
  const tokens = new Map((await insertAttempts(tx, attempts)).map(({ jobId, token }) => [jobId, token]))
  const leases = assigned.map(({ jobId, projectId, teamId, kind, workerId }) => {
    const job = jobs.get(jobId)
    const token = tokens.get(jobId)
    if (job === undefined || token === undefined) throw new Error('a claimed job has no row')
    return {
      job,
      row: {
        token,
        jobId,
        projectId,
        teamId,
        kind,
        workerId,
        phase: 'dispatched' as const,
        expiresAt: now + policy.startWithinMs,
      },
    }
  })
  await insertLeases(
    tx,
    leases.map(({ row }) => row),
  )
  await recordEvents(
    tx,
    now,
    leases.map(({ job }) => ({ jobId: job.id, kind: 'state', data: { state: 'leased', attempt: job.attempt + 1 } })),
  )
  return leases.map(({ job, row }) => ({
    workerId: row.workerId,
    claim: {
      token: row.token,
      jobId: job.id,
      projectId: job.projectId,
      kind: job.kind as Claim['kind'],
      input: JSON.parse(job.input),
      attempt: job.attempt + 1,
      leaseTtlSeconds: policy.leaseTtlMs / 1000,
      startWithinSeconds: policy.startWithinMs / 1000,
    },
  }))
}
