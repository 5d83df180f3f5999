import type { Backoff, JobFailure } from '@hivesync/contracts/jobs.ts'
import { insertAudits, insertOutbox } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { runTogether } from '../platform/db/statement.ts'
import { type CounterChange, moveCounters } from './counters.ts'
import { insertEvents, recordEvents } from './events.ts'
import { endPhases, readPhases } from './lease.ts'
import { policy, retryDelayMs } from './policy.ts'
import { deleteLease, getAttempt, insertQueued, type JobRow, type LeaseRow, setAttempt, setJob } from './queries.ts'

export interface Final {
  state: 'succeeded' | 'failed' | 'canceled' | 'skipped'
  result?: Record<string, unknown>
  error?: JobFailure
  skipReason?: string
  /** Which completion was accepted, to answer the same one alike when it comes again. */
  completion?: { token: number; hash: string }
}

/** Gives a job its one final state, with the event, the audit row and the outbox row in the same transaction. Counters are the caller's. */
export async function finishJob(
  ctx: Context,
  tx: Db,
  actor: Actor,
  job: Pick<JobRow, 'id' | 'teamId' | 'projectId' | 'kind'>,
  final: Final,
): Promise<JobRow> {
  const now = ctx.clock.now()
  const row = await setJob(tx, job.id, {
    state: final.state,
    finishedAt: now,
    result: final.result === undefined ? null : JSON.stringify(final.result),
    error: final.error === undefined ? null : JSON.stringify(final.error),
    skipReason: final.skipReason ?? null,
    completedToken: final.completion?.token ?? null,
    completionHash: final.completion?.hash ?? null,
  })
  const reason = final.skipReason ?? final.error?.code
  const about = { teamId: job.teamId, projectId: job.projectId }
  await runTogether(tx, [
    insertEvents(now, [
      { jobId: job.id, kind: 'state', data: { state: final.state, ...(reason === undefined ? {} : { reason }) } },
    ]),
    insertAudits(ctx, [
      {
        actor,
        action: `job.${final.state}`,
        target: { kind: 'job', id: job.id },
        ...about,
        details: { kind: job.kind, reason: reason ?? null },
      },
    ]),
    insertOutbox(ctx, [
      {
        topic: `job.${final.state}`,
        teamId: job.teamId,
        payload: { jobId: job.id, projectId: job.projectId, kind: job.kind },
      },
    ]),
  ])
  return row
}

/** Ends a lease and its attempt and gives the running place back, at once or as `count` does it. False when the lease was already gone: then nothing was changed. */
export async function closeLease(
  ctx: Context,
  tx: Db,
  lease: LeaseRow,
  attempt: { outcome: string; error?: JobFailure; receipt?: Record<string, unknown>; isVerified?: boolean },
  waiting: 0 | 1,
  count: (change: CounterChange) => Promise<void> = (change) => moveCounters(tx, change),
): Promise<boolean> {
  if (!(await deleteLease(tx, lease.token))) return false
  const now = ctx.clock.now()
  const { phases } = await getAttempt(tx, lease.token)
  await setAttempt(tx, lease.token, {
    endedAt: now,
    outcome: attempt.outcome,
    phases: JSON.stringify(endPhases(readPhases(ctx, lease.token, phases), now)),
    error: attempt.error === undefined ? null : JSON.stringify(attempt.error),
    receipt: attempt.receipt === undefined ? null : JSON.stringify(attempt.receipt),
    receiptVerified: attempt.isVerified === true ? 1 : 0,
  })
  await count({ teamId: lease.teamId, projectId: lease.projectId, kind: lease.kind, waiting, running: -1 })
  return true
}

/** Puts a job back into the queue, at once or after a delay; the place it had is its own, so the cap does not apply. */
export async function requeueJob(
  ctx: Context,
  tx: Db,
  job: JobRow,
  reason: string,
  delayMs: number,
  change: { infrastructureFailures?: number; uncountedAttempts?: number; completion?: Final['completion'] } = {},
): Promise<void> {
  const now = ctx.clock.now()
  const row = await setJob(tx, job.id, {
    state: 'queued',
    phase: null,
    progress: null,
    message: null,
    infrastructureFailures: change.infrastructureFailures ?? job.infrastructureFailures,
    uncountedAttempts: change.uncountedAttempts ?? job.uncountedAttempts,
    completedToken: change.completion?.token ?? job.completedToken,
    completionHash: change.completion?.hash ?? job.completionHash,
  })
  await insertQueued(tx, row, now + delayMs)
  await recordEvents(tx, now, [{ jobId: job.id, kind: 'state', data: { state: 'queued', reason } }])
}

/** What follows a failure: another try after a delay, or the end. The machine's failures and the work's own have separate budgets. */
export function verdictOn(
  job: JobRow,
  failure: { infrastructure: boolean },
  fraction: number,
): { retry: false } | { retry: true; delayMs: number; infrastructureFailures: number } {
  const infrastructureFailures = job.infrastructureFailures + (failure.infrastructure ? 1 : 0)
  const ownFailures = job.attempt - job.uncountedAttempts - infrastructureFailures
  const exhausted = failure.infrastructure
    ? infrastructureFailures > policy.maxInfrastructureFailures
    : ownFailures >= job.maxAttempts
  if (exhausted) return { retry: false }
  // The backoff that was asked for is for the work's own failures; a lost worker says nothing about the work.
  const backoff: Backoff | undefined = job.backoff === null ? undefined : JSON.parse(job.backoff)
  const delayMs = failure.infrastructure
    ? retryDelayMs(infrastructureFailures - 1, fraction)
    : retryDelayMs(ownFailures - 1, fraction, backoff)
  return { retry: true, delayMs, infrastructureFailures }
}
