import type { Actor } from '../platform/actor.ts'
import { type Batches, createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { oneOf, runTogether, type Statement, statement, updateEach } from '../platform/db/statement.ts'
import { AppError } from '../platform/errors.ts'
import { hasManyEvents, insertEvents, recordEvents } from './events.ts'
import { policy } from './policy.ts'
import { getAttempt, type LeaseRow, lockLease, lockLeases, setAttempt, setJob } from './queries.ts'
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

interface Start {
  actor: Actor
  token: string
}
const queues = new WeakMap<Context, Batches<Start, LeaseRow>>()
const maxTogether = 64

/** Begins the work: from here on the attempt counts. Starting twice changes nothing. Those that arrive at once share a transaction. */
export async function startLease(ctx: Context, actor: Actor, token: string): Promise<void> {
  const queue = queues.get(ctx) ?? createBatches<Start, LeaseRow>((items) => startTogether(ctx, items), maxTogether)
  queues.set(ctx, queue)
  const lease = await queue.add({ actor, token })
  ctx.bus.publish(`job:${lease.jobId}`)
}

/** Starts each of the leases, whatever becomes of the others. */
export async function startLeases(ctx: Context, actor: Actor, tokens: readonly number[]) {
  const leases = tokens.map(async (token) => {
    try {
      await startLease(ctx, actor, String(token))
      return { token, verdict: 'ok' as const }
    } catch (error) {
      if (error instanceof AppError && error.code === 'lease_lost') return { token, verdict: 'lost' as const }
      throw error
    }
  })
  return { leases: await Promise.all(leases) }
}

function startTogether(ctx: Context, items: readonly Start[]): Promise<(LeaseRow | AppError)[]> {
  return ctx.db.transaction(async (tx) => {
    const now = ctx.clock.now()
    const tokens = items.map(({ token }) => Number(token)).filter(Number.isSafeInteger)
    const workerIds = [...new Set(items.map(({ actor }) => actor.id ?? ''))]
    const leases = new Map((await lockLeases(tx, workerIds, tokens)).map((lease) => [lease.token, lease]))
    const started = new Set<LeaseRow & { number: number }>()
    const outcomes = items.map(({ actor, token }) => {
      const lease = leases.get(Number(token))
      if (lease === undefined || lease.workerId !== actor.id || lease.expiresAt <= now)
        return new AppError('lease_lost', { token })
      if (lease.phase !== 'started') started.add(lease)
      return lease
    })
    if (started.size > 0)
      await runTogether(tx, [
        statement`update job_leases set phase = 'started', expires_at = ${now + policy.leaseTtlMs}
          where token ${oneOf(
            'bigint',
            [...started].map(({ token }) => token),
          )}`,
        ...beginStatements([...started], now),
      ])
    return outcomes
  })
}

const beginColumns = { ofKey: 'text', toAttempt: 'bigint' } as const

/** The statements with which attempts begin: from here on each counts, for its job's budget too. */
export function beginStatements(
  attempts: readonly { token: number; jobId: string; number: number }[],
  now: number,
): Statement[] {
  const tokens = attempts.map(({ token }) => token)
  const jobs = attempts.map(({ jobId, number }) => ({ ofKey: jobId, toAttempt: number }))
  const set = statement`state = 'running', attempt = to_attempt, started_at = coalesce(started_at, ${now})`
  const state = 'running'
  return [
    statement`update job_attempts set started_at = ${now} where token ${oneOf('bigint', tokens)}`,
    updateEach('jobs', 'id', set, beginColumns, jobs),
    insertEvents(
      now,
      attempts.map(({ jobId, number }) => ({ jobId, kind: 'state', data: { state, attempt: number } })),
    ),
  ]
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
    const phases = readPhases(ctx, lease.token, attempt.phases)
    if (phases[phases.length - 1]?.phase !== report.phase && phases.length < 50) {
      await setAttempt(tx, lease.token, {
        phases: JSON.stringify([...endPhases(phases, now), { phase: report.phase, startedAt: now, endedAt: null }]),
      })
      const last = phases[phases.length - 1]
      const before = last === undefined ? null : { phase: last.phase, ms: Math.max(0, now - last.startedAt) }
      await recordEvents(tx, now, [{ jobId: lease.jobId, kind: 'phase', data: { phase: report.phase, before } }])
    }
    if (!(await hasManyEvents(tx, lease.jobId)))
      await recordEvents(tx, now, [
        { jobId: lease.jobId, kind: 'progress', data: { phase: report.phase, progress, message } },
      ])
    return lease.jobId
  })
  ctx.bus.publish(`job:${jobId}`)
}

/** The phases so far. What cannot be read is given up, with an alarm: the attempt must be able to end. */
export function readPhases(ctx: Context, token: number, text: string): Phase[] {
  try {
    const phases: unknown = JSON.parse(text)
    if (Array.isArray(phases)) return phases
  } catch {
    // Said below.
  }
  ctx.log.error({ event: 'attempt_unreadable', token })
  return []
}

export function endPhases(phases: readonly Phase[], now: number): Phase[] {
  return phases.map((phase) => ({ ...phase, endedAt: phase.endedAt ?? now }))
}
