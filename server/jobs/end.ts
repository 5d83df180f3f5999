import type { JobFailure } from '@hivesync/contracts/jobs.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { moveCounters } from './counters.ts'
import { recordEvents } from './events.ts'
import { endPhases } from './lease.ts'
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
  await recordEvents(tx, now, [
    { jobId: job.id, kind: 'state', data: { state: final.state, ...(reason === undefined ? {} : { reason }) } },
  ])
  const about = { teamId: job.teamId, projectId: job.projectId }
  await recordAudit(ctx, tx, actor, {
    action: `job.${final.state}`,
    target: { kind: 'job', id: job.id },
    ...about,
    details: { kind: job.kind, reason: reason ?? null },
  })
  await enqueueEvent(ctx, tx, {
    topic: `job.${final.state}`,
    teamId: job.teamId,
    payload: { jobId: job.id, projectId: job.projectId, kind: job.kind },
  })
  return row
}

/** Ends a lease and its attempt and gives the running place back. False when the lease was already gone: then nothing was changed. */
export async function closeLease(
  ctx: Context,
  tx: Db,
  lease: LeaseRow,
  attempt: { outcome: string; error?: JobFailure; receipt?: Record<string, unknown> },
  waiting: 0 | 1,
): Promise<boolean> {
  if (!(await deleteLease(tx, lease.token))) return false
  const now = ctx.clock.now()
  const { phases } = await getAttempt(tx, lease.token)
  await setAttempt(tx, lease.token, {
    endedAt: now,
    outcome: attempt.outcome,
    phases: JSON.stringify(endPhases(JSON.parse(phases), now)),
    error: attempt.error === undefined ? null : JSON.stringify(attempt.error),
    receipt: attempt.receipt === undefined ? null : JSON.stringify(attempt.receipt),
  })
  await moveCounters(tx, { teamId: lease.teamId, projectId: lease.projectId, kind: lease.kind, waiting, running: -1 })
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
  return {
    retry: true,
    delayMs: retryDelayMs(failure.infrastructure ? infrastructureFailures - 1 : ownFailures - 1, fraction),
    infrastructureFailures,
  }
}
