import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { hasManyEvents, recordEvents } from './events.ts'
import { policy } from './policy.ts'
import { getAttempt, type JobRow, type LeaseRow, lockLease, setAttempt, setJob } from './queries.ts'
import { hasRights } from './rights.ts'
import { storable } from './storable.ts'

/** The lease behind a token, if this worker still holds it. Locked, so that no effect slips in after the lease ended. */
export async function findLease(ctx: Context, tx: Db, actor: Actor, token: string): Promise<LeaseRow | undefined> {
  const lease = await lockLease(tx, actor.id ?? '', readToken(token))
  // An expired lease is lost even before the reaper has come by: its job may be anybody's in the next moment.
  return lease === undefined || lease.expiresAt <= ctx.clock.now() ? undefined : lease
}

/** The same, or `lease_lost`. */
export async function requireLease(ctx: Context, tx: Db, actor: Actor, token: string): Promise<LeaseRow> {
  const lease = await findLease(ctx, tx, actor, token)
  if (lease === undefined) throw new AppError('lease_lost', { token })
  return lease
}

/** The number of a fencing token; no lease has one beyond 2^53, so such a token is lost. */
export function readToken(token: string): number {
  const number = Number(token)
  if (!Number.isSafeInteger(number)) throw new AppError('lease_lost')
  return number
}

/** Begins the work: from here on the attempt counts. Starting twice changes nothing. */
export async function startLease(ctx: Context, actor: Actor, token: string): Promise<void> {
  const lease = await ctx.db.transaction(async (tx) => {
    const lease = await requireLease(ctx, tx, actor, token)
    if (lease.phase === 'started') return lease
    const now = ctx.clock.now()
    await tx
      .updateTable('jobLeases')
      .set({ phase: 'started', expiresAt: now + policy.leaseTtlMs })
      .where('token', '=', lease.token)
      .execute()
    await beginAttempt(tx, lease, now)
    return lease
  })
  ctx.bus.publish(`job:${lease.jobId}`)
}

/** From here on the attempt counts, for its job's budget too. */
export async function beginAttempt(tx: Db, lease: LeaseRow, now: number): Promise<JobRow> {
  await setAttempt(tx, lease.token, { startedAt: now })
  const { number } = await getAttempt(tx, lease.token)
  const job = await tx
    .updateTable('jobs')
    .set((eb) => ({ state: 'running', attempt: number, startedAt: eb.fn.coalesce('startedAt', eb.val(now)) }))
    .where('id', '=', lease.jobId)
    .returningAll()
    .executeTakeFirstOrThrow()
  await recordEvents(tx, now, [{ jobId: lease.jobId, kind: 'state', data: { state: 'running', attempt: number } }])
  return job
}

interface Phase {
  phase: string
  startedAt: number
  endedAt: number | null
}

/** Phase, percent and message of the work; each phase's begin and end become the attempt's timings. */
export async function reportProgress(
  ctx: Context,
  actor: Actor,
  token: string,
  report: { phase: string; progress?: number; message?: string },
): Promise<void> {
  const jobId = await ctx.db.transaction(async (tx) => {
    const lease = await requireLease(ctx, tx, actor, token)
    const now = ctx.clock.now()
    const progress = report.progress ?? null
    const message = report.message === undefined ? null : storable(report.message)
    await setJob(tx, lease.jobId, { phase: report.phase, progress, message })
    const attempt = await getAttempt(tx, lease.token)
    const phases: Phase[] = JSON.parse(attempt.phases)
    if (phases[phases.length - 1]?.phase !== report.phase && phases.length < 50) {
      await setAttempt(tx, lease.token, {
        phases: JSON.stringify([...endPhases(phases, now), { phase: report.phase, startedAt: now, endedAt: null }]),
      })
    }
    if (!(await hasManyEvents(tx, lease.jobId)))
      await recordEvents(tx, now, [
        { jobId: lease.jobId, kind: 'progress', data: { phase: report.phase, progress, message } },
      ])
    return lease.jobId
  })
  ctx.bus.publish(`job:${jobId}`)
}

export function endPhases(phases: readonly Phase[], now: number): Phase[] {
  return phases.map((phase) => ({ ...phase, endedAt: phase.endedAt ?? now }))
}

/** One beat for all of a worker's leases: extends those it still holds and says which to cancel and which are lost. */
export async function heartbeat(ctx: Context, actor: Actor, asked: readonly number[]) {
  const now = ctx.clock.now()
  const tokens = asked.filter(Number.isSafeInteger)
  const workerId = actor.id ?? ''
  const leases = await ctx.db.transaction(async (tx) => {
    await tx.updateTable('workers').set({ lastSeenAt: now }).where('id', '=', workerId).execute()
    if (tokens.length === 0) return []
    await tx
      .updateTable('jobLeases')
      .set({ expiresAt: now + policy.leaseTtlMs })
      .where('workerId', '=', workerId)
      .where('token', 'in', tokens)
      .where('expiresAt', '>', now)
      .where('phase', '=', 'started')
      .execute()
    // One whose job's rights ended with time is lost before the sweep has come by.
    return tx
      .selectFrom('jobLeases')
      .innerJoin('jobs', 'jobs.id', 'jobLeases.jobId')
      .select(['jobLeases.token', 'jobs.cancelRequestedAt'])
      .where(hasRights(now), '=', 1)
      .where('jobLeases.workerId', '=', workerId)
      .where('jobLeases.token', 'in', tokens)
      .where('jobLeases.expiresAt', '>', now)
      .execute()
  })
  const held = new Map(leases.map((lease) => [lease.token, lease.cancelRequestedAt]))
  const worker = await ctx.db.kysely
    .selectFrom('workers')
    .select('drainingAt')
    .where('id', '=', workerId)
    .executeTakeFirst()
  return {
    leases: asked.map((token) => {
      const canceled = held.get(token)
      return {
        token,
        verdict: canceled === undefined ? ('lost' as const) : canceled === null ? ('ok' as const) : ('cancel' as const),
      }
    }),
    draining: worker?.drainingAt != null,
    nextSeconds: policy.heartbeatSeconds,
  }
}
