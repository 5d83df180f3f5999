import { expressionBuilder } from 'kysely'
import { type Actor, system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { dialectOf, forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { Revocation, RevocationEffect } from '../platform/revocation.ts'
import { byCounters, moveCounters } from './counters.ts'
import { closeLease, finishJob } from './end.ts'
import { deleteQueued, type LeaseRow } from './queries.ts'
import { eachOf } from './reap.ts'
import { hasRights } from './rights.ts'

/** Why such a job ended: its error, and the reason in its event and audit row. */
export const rightsEnded = {
  code: 'rights_ended',
  message: 'Who submitted it, or the API key it came with, may no longer run jobs in this project',
} as const

/**
 * Jobs that one revocation ends in its own transaction, running ones first. Whoever queues more must not be able to make it too long for
 * its database, and so keep their rights: the sweep ends the rest, and until then none that waits can be claimed.
 */
const maxAtOnce = 500

/** Ends the jobs that stand on what was revoked and do not hold their rights any more, in the same commit. */
export const endJobs: RevocationEffect = {
  name: 'jobs',
  async apply(ctx, tx, actor, revocation) {
    const now = ctx.clock.now()
    const ids = [...(await listLeased(tx, revocation, now)), ...(await listWaiting(tx, revocation, now))]
    const ended = await endRightless(ctx, tx, actor, ids.slice(0, maxAtOnce))
    return ended.length === 0 ? undefined : () => tellOf(ctx, ended)
  },
}

/**
 * What of running jobs says whether they have rights. A cross join, in which SQLite keeps the order, and for PostgreSQL an offset, behind which it judges nothing
 * before it has joined: either would begin with the jobs, all that ever were.
 */
function leasedJobs(db: Db) {
  const running = db
    .selectFrom('jobLeases')
    .crossJoin('jobs')
    .select(['jobs.id', 'jobs.submittedByUser', 'jobs.submittedByKey', 'jobs.projectId', 'jobs.teamId', 'jobs.kind'])
    .whereRef('jobs.id', '=', 'jobLeases.jobId')
  return dialectOf(db) === 'postgres' ? running.offset(0) : running
}

/** Only what runs is read, which is little: no index is needed. */
async function listLeased(tx: Db, revocation: Revocation, now: number): Promise<string[]> {
  const { users = [], apiKeys = [], projects = [], teams = [] } = revocation
  const isTouched = expressionBuilder<Schema, 'jobs'>()
  const touched = [
    ...(users.length > 0 ? [isTouched('jobs.submittedByUser', 'in', users)] : []),
    ...(apiKeys.length > 0 ? [isTouched('jobs.submittedByKey', 'in', apiKeys)] : []),
    ...(projects.length > 0 ? [isTouched('jobs.projectId', 'in', projects)] : []),
    ...(teams.length > 0 ? [isTouched('jobs.teamId', 'in', teams)] : []),
  ]
  if (touched.length === 0) return []
  const rows = await tx
    .selectFrom(leasedJobs(tx).as('jobs'))
    .select('jobs.id')
    .where(isTouched.or(touched))
    .where(hasRights(now), '=', 0)
    .limit(maxAtOnce)
    .execute()
  return rows.map((row) => row.id)
}

/** Relies on jobs_submitter, jobs_key and job_queue_order: a statement each, for no index serves an `or` of them. */
async function listWaiting(tx: Db, revocation: Revocation, now: number): Promise<string[]> {
  const { users = [], apiKeys = [], projects = [], teams = [] } = revocation
  const waiting = tx
    .selectFrom('jobs')
    .innerJoin('jobQueue', 'jobQueue.jobId', 'jobs.id')
    .select('jobs.id')
    .where('jobs.finishedAt', 'is', null)
    .where(hasRights(now), '=', 0)
    .limit(maxAtOnce)
  const lists = []
  if (users.length > 0) lists.push(waiting.where('jobs.submittedByUser', 'in', users))
  if (apiKeys.length > 0) lists.push(waiting.where('jobs.submittedByKey', 'in', apiKeys))
  if (teams.length > 0) lists.push(waiting.where('jobQueue.teamId', 'in', teams))
  if (projects.length > 0) {
    const teamIds = tx.selectFrom('projects').select('teamId').where('id', 'in', projects)
    lists.push(waiting.where('jobQueue.teamId', 'in', teamIds).where('jobQueue.projectId', 'in', projects))
  }
  const ids = new Set<string>()
  for (const list of lists) for (const { id } of await list.execute()) ids.add(id)
  return [...ids]
}

/**
 * Ends those of the jobs that have no rights and are not over: canceled, with the reason. A running one loses its lease in the same commit rather than
 * being asked to stop: its worker hears `lost` at the next beat and kills it, and whatever it still sends is refused, so nothing that
 * happened after the rights ended takes effect. Returns which were ended.
 */
export async function endRightless(ctx: Context, tx: Db, actor: Actor, jobIds: readonly string[]): Promise<string[]> {
  if (jobIds.length === 0) return []
  // All rows of jobs before any counter: a completion holds its job's rows when it asks for the counters.
  const queued = tx.selectFrom('jobQueue').select('jobId').where('jobId', 'in', jobIds).orderBy('jobId')
  const waiting = new Set((await forUpdate(tx, queued).execute()).map(({ jobId }) => jobId))
  const leases = new Map<string, LeaseRow>()
  const held = tx.selectFrom('jobLeases').selectAll().where('jobId', 'in', jobIds).orderBy('token')
  for (const lease of await forUpdate(tx, held).execute()) leases.set(lease.jobId, lease)
  // Asked anew: while we waited for the rows, a job may have ended, or somebody else may have run it again.
  const jobs = tx
    .selectFrom('jobs')
    .selectAll()
    .where('id', 'in', jobIds)
    .where('finishedAt', 'is', null)
    .where(hasRights(ctx.clock.now()), '=', 0)
    .orderBy('id')
  const ended: string[] = []
  for (const job of (await forUpdate(tx, jobs).execute()).sort(byCounters)) {
    const lease = leases.get(job.id)
    const { teamId, projectId, kind } = job
    if (lease !== undefined) await closeLease(ctx, tx, lease, { outcome: 'canceled', error: rightsEnded }, 0)
    // A queue row that came since may be held by a claim, which waits for the job that we hold.
    else if (waiting.has(job.id) && (await deleteQueued(tx, job.id)))
      await moveCounters(tx, { teamId, projectId, kind, waiting: -1, running: 0 })
    // It changed places meanwhile: the sweep comes by within a second, and nobody can claim it.
    else continue
    await finishJob(ctx, tx, actor, job, { state: 'canceled', error: rightsEnded })
    ended.push(job.id)
  }
  return ended
}

/** Says on the bus that jobs ended outside of their workers' requests. */
export function tellOf(ctx: Context, jobIds: readonly string[]): void {
  for (const jobId of jobIds) ctx.bus.publish(`job:${jobId}`)
  // A claim passes over a team whose share is being changed, as it was here: look again.
  if (jobIds.length > 0) ctx.bus.publish('jobs')
}

const leasesAtOnce = 200
/** Waiting jobs looked at in each second: 1,000 take SQLite 5 ms. */
const waitingAtOnce = 1000
const lastSeen = new WeakMap<Context, string>()

/**
 * Ends jobs whose rights went without anybody's act: with the time of an API key, or behind our back. Looks at every running job, and at a thousand
 * waiting ones after those of the last look; a waiting one that is reached late can still not be claimed. Answers how many it ended.
 */
export async function endRightlessJobs(ctx: Context): Promise<number> {
  const now = ctx.clock.now()
  const leased = await ctx.db.kysely
    .selectFrom(leasedJobs(ctx.db.kysely).as('jobs'))
    .select('jobs.id')
    .where(hasRights(now), '=', 0)
    .limit(leasesAtOnce)
    .execute()
  const waiting = await ctx.db.kysely
    .selectFrom('jobQueue')
    .innerJoin('jobs', 'jobs.id', 'jobQueue.jobId')
    .select(['jobs.id', hasRights(now).as('hasRights')])
    .where('jobQueue.jobId', '>', lastSeen.get(ctx) ?? '')
    .orderBy('jobQueue.jobId')
    .limit(waitingAtOnce)
    .execute()
  lastSeen.set(ctx, waiting.length < waitingAtOnce ? '' : (waiting.at(-1)?.id ?? ''))
  const rightless = [...leased, ...waiting.filter((row) => row.hasRights === 0)]
  return eachOf(ctx, 'job_not_ended', rightless, async ({ id }) => {
    tellOf(ctx, await ctx.db.transaction((tx) => endRightless(ctx, tx, system, [id])))
  })
}
