import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, forUpdateSkipLocked } from '../platform/db/dialect.ts'
import { byCounters, moveCounters } from './counters.ts'
import { closeLease, finishJob, requeueJob, verdictOn } from './end.ts'
import { attemptsLost } from './measures.ts'
import { policy } from './policy.ts'
import { deleteExpired, type LeaseRow, lockJob } from './queries.ts'

const batch = 200

/**
 * Takes back the jobs of leases that ran out: not started in time → queued again at no cost; a silent worker → another try from the infrastructure
 * budget, or the end. One transaction per lease, so that a bad row never blocks the others.
 */
export async function reapLeases(ctx: Context): Promise<number> {
  const expired = await ctx.db.kysely
    .selectFrom('jobLeases')
    .select('token')
    .where('expiresAt', '<=', ctx.clock.now())
    .orderBy('expiresAt')
    .limit(batch)
    .execute()
  return eachOf(ctx, 'lease_not_reaped', expired, ({ token }) => reapLease(ctx, token, false))
}

/**
 * Takes back everything that workers hold, in the transaction that revokes them: what they had sent before is accepted or refused as a whole. Returns the
 * jobs, of which the caller tells after the commit.
 */
export async function reapWorkers(ctx: Context, tx: Db, workerIds: readonly string[]): Promise<string[]> {
  if (workerIds.length === 0) return []
  // All of them before any counter: a completion holds its lease when it asks for the counters.
  const held = tx.selectFrom('jobLeases').selectAll().where('workerId', 'in', workerIds).orderBy('token')
  const leases = (await forUpdate(tx, held).execute()).sort(byCounters)
  for (const lease of leases) await endLost(ctx, tx, lease, true)
  return leases.map((lease) => lease.jobId)
}

/** Takes back claims that reached nobody, at no cost to their jobs. */
export async function returnClaims(ctx: Context, claims: readonly Claim[]): Promise<void> {
  await eachOf(ctx, 'lease_not_reaped', claims, ({ token }) => reapLease(ctx, token, true))
}

async function reapLease(ctx: Context, token: number, force: boolean): Promise<void> {
  const lost = await ctx.db.transaction(async (tx) => {
    const lease = force ? await lockAny(tx, token) : await lockExpired(tx, token, ctx.clock.now())
    if (lease === undefined) return undefined
    await endLost(ctx, tx, lease, !force)
    return lease
  })
  if (lost === undefined) return
  if (!force) ctx.metrics.count(attemptsLost, { reason: lost.phase === 'started' ? 'silent' : 'not_started' })
  ctx.bus.publish(`job:${lost.jobId}`)
  ctx.bus.publish('jobs')
}

function lockExpired(tx: Db, token: number, now: number): Promise<LeaseRow | undefined> {
  return forUpdateSkipLocked(
    tx,
    tx.selectFrom('jobLeases').selectAll().where('token', '=', token).where('expiresAt', '<=', now),
  ).executeTakeFirst()
}

// Waits for whoever holds the row: the last request of a revoked worker must not save its lease.
function lockAny(tx: Db, token: number): Promise<LeaseRow | undefined> {
  return forUpdate(tx, tx.selectFrom('jobLeases').selectAll().where('token', '=', token)).executeTakeFirst()
}

/** `reached` is false for a claim that its worker never got: that costs nothing, started or not. */
async function endLost(ctx: Context, tx: Db, lease: LeaseRow, reached: boolean): Promise<void> {
  const job = await lockJob(tx, lease.jobId)
  if (job === undefined) throw new Error('a lease without a job')
  const started = lease.phase === 'started'
  const lost = { code: 'worker_lost', message: 'The worker fell silent' }
  const verdict = verdictOn(job, { infrastructure: true }, ctx.random.fraction())
  const isFree = !started || !reached
  const goesOn = job.cancelRequestedAt === null && (isFree || verdict.retry)
  await closeLease(ctx, tx, lease, started ? { outcome: 'lost', error: lost } : { outcome: 'lost' }, goesOn ? 1 : 0)
  if (job.cancelRequestedAt !== null) await finishJob(ctx, tx, system, job, { state: 'canceled' })
  else if (isFree)
    await requeueJob(ctx, tx, job, 'not_started', 0, { uncountedAttempts: job.uncountedAttempts + (started ? 1 : 0) })
  else if (verdict.retry)
    await requeueJob(ctx, tx, job, 'worker_lost', verdict.delayMs, {
      infrastructureFailures: verdict.infrastructureFailures,
    })
  else await finishJob(ctx, tx, system, job, { state: 'failed', error: lost })
}

/** Ends jobs that waited past their time to live, without running them (property 18). */
export async function skipExpired(ctx: Context): Promise<number> {
  const expired = await ctx.db.kysely
    .selectFrom('jobQueue')
    .select('jobId')
    .where('expiresAt', '<=', ctx.clock.now())
    .orderBy('expiresAt')
    .limit(batch)
    .execute()
  return eachOf(ctx, 'job_not_skipped', expired, async ({ jobId }) => {
    await ctx.db.transaction(async (tx) => {
      // A retry may have given the job new time since it was listed.
      if (!(await deleteExpired(tx, jobId, ctx.clock.now()))) return
      const job = await lockJob(tx, jobId)
      if (job === undefined) throw new Error('a queue entry without a job')
      await moveCounters(tx, { teamId: job.teamId, projectId: job.projectId, kind: job.kind, waiting: -1, running: 0 })
      await finishJob(ctx, tx, system, job, { state: 'skipped', skipReason: 'ttl_expired' })
    })
    ctx.bus.publish(`job:${jobId}`)
    ctx.bus.publish('jobs')
  })
}

/** After a start, gives every lease one more life: the workers could not reach us while we were away, which is not their silence. */
export async function extendLeases(ctx: Context): Promise<void> {
  const expiresAt = ctx.clock.now() + policy.leaseTtlMs
  // In a transaction, which is tried again after a deadlock with another replica's heartbeats.
  await ctx.db.transaction((tx) =>
    tx.updateTable('jobLeases').set({ expiresAt }).where('expiresAt', '<', expiresAt).execute(),
  )
}

/** Removes what nobody reads any more: nonces that could no longer be replayed. */
export async function prune(ctx: Context): Promise<void> {
  const now = ctx.clock.now()
  await ctx.db.kysely.deleteFrom('workerNonces').where('expiresAt', '<', now).execute()
}

/** Acts on each row, whatever became of the others; failures are logged. Answers how many went well. */
export async function eachOf<T>(
  ctx: Context,
  event: string,
  rows: readonly T[],
  act: (row: T) => Promise<void>,
): Promise<number> {
  let done = 0
  for (const row of rows) {
    try {
      await act(row)
      done++
    } catch (error) {
      ctx.log.error({ event }, error)
    }
  }
  return done
}
