import type { Backoff, JobFailure } from '@hivesync/contracts/jobs.ts'
import { insertAudits, insertOutbox } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { runTogether, type Statement, statement, updateEach } from '../platform/db/statement.ts'
import { type CounterChange, countTogether, moveCounters } from './counters.ts'
import { insertEvents } from './events.ts'
import { endPhases, readPhases } from './lease.ts'
import { requestOf } from './new-job.ts'
import { policy, retryDelayMs } from './policy.ts'
import { deleteLeases, getAttempt, insertQueuedRows, type JobRow, type LeaseRow } from './queries.ts'

export interface Final {
  state: 'succeeded' | 'failed' | 'canceled' | 'skipped'
  result?: Record<string, unknown>
  error?: JobFailure
  skipReason?: string
  /** Which completion was accepted, to answer the same one alike when it comes again. */
  completion?: { token: number; hash: string }
}

interface Ending {
  actor: Actor
  job: Pick<JobRow, 'id' | 'teamId' | 'projectId' | 'kind' | 'requestId'>
  final: Final
}

const finalColumns = {
  ofKey: 'text',
  newState: 'text',
  newResult: 'text',
  newError: 'text',
  newReason: 'text',
  newToken: 'bigint',
  newHash: 'text',
} as const

/** The statements that give each job its one final state, with its event, audit row and outbox row. Counters are the caller's. */
function finishStatements(ctx: Context, endings: readonly Ending[]): Statement[] {
  if (endings.length === 0) return []
  const now = ctx.clock.now()
  const changes = endings.map(({ job, final: { state, result, error, skipReason, completion } }) => ({
    ofKey: job.id,
    newState: state,
    newResult: result === undefined ? null : JSON.stringify(result),
    newError: error === undefined ? null : JSON.stringify(error),
    newReason: skipReason,
    newToken: completion?.token,
    newHash: completion?.hash,
  }))
  const set = statement`state = new_state, finished_at = ${now}, result = new_result, error = new_error, skip_reason = new_reason,
    completed_token = new_token, completion_hash = new_hash`
  const told = endings.map(({ actor, job, final }) => {
    const reason = final.skipReason ?? final.error?.code
    return { actor, job, state: final.state, reason }
  })
  return [
    updateEach('jobs', 'id', set, finalColumns, changes),
    insertEvents(
      now,
      told.map(({ job, state, reason }) => ({
        jobId: job.id,
        kind: 'state',
        data: { state, ...(reason === undefined ? {} : { reason }) },
      })),
    ),
    insertAudits(
      ctx,
      told.map(({ actor, job, state, reason }) => ({
        // A person who ends it has a request of their own; a worker and the server do it for the one that it came with.
        actor: actor.kind === 'worker' || actor.kind === 'system' ? { ...actor, requestId: job.requestId } : actor,
        action: `job.${state}`,
        target: { kind: 'job', id: job.id },
        teamId: job.teamId,
        projectId: job.projectId,
        details: { kind: job.kind, reason: reason ?? null },
      })),
    ),
    insertOutbox(
      ctx,
      told.map(({ job, state }) => ({
        topic: `job.${state}`,
        teamId: job.teamId,
        payload: { jobId: job.id, projectId: job.projectId, kind: job.kind, ...requestOf(job) },
      })),
    ),
  ]
}

/** Gives a job its one final state, with the event, the audit row and the outbox row in the same transaction. Counters are the caller's. */
export function finishJob(ctx: Context, tx: Db, actor: Actor, job: Ending['job'], final: Final): Promise<void> {
  return runTogether(tx, finishStatements(ctx, [{ actor, job, final }]))
}

interface AttemptEnd {
  outcome: string
  error?: JobFailure
  receipt?: Record<string, unknown>
  isVerified?: boolean
}

interface Closing {
  lease: LeaseRow
  /** Those of the attempt so far, as they are stored. */
  phases: string
  end: AttemptEnd
}

const attemptColumns = {
  ofKey: 'bigint',
  newOutcome: 'text',
  newPhases: 'text',
  newError: 'text',
  newReceipt: 'text',
  newVerified: 'bigint',
} as const

/** The statements that end leases, which the caller has locked, and their attempts. Counters are the caller's. */
function closeStatements(ctx: Context, closings: readonly Closing[]): Statement[] {
  if (closings.length === 0) return []
  const now = ctx.clock.now()
  const changes = closings.map(({ lease, phases, end: { outcome, error, receipt, isVerified } }) => ({
    ofKey: lease.token,
    newOutcome: outcome,
    newPhases: JSON.stringify(endPhases(readPhases(ctx, lease.token, phases), now)),
    newError: error === undefined ? null : JSON.stringify(error),
    newReceipt: receipt === undefined ? null : JSON.stringify(receipt),
    newVerified: isVerified === true ? 1 : 0,
  }))
  const set = statement`ended_at = ${now}, outcome = new_outcome, phases = new_phases, error = new_error, receipt = new_receipt,
    receipt_verified = new_verified`
  return [
    deleteLeases(closings.map(({ lease }) => lease.token)),
    updateEach('job_attempts', 'token', set, attemptColumns, changes),
  ]
}

/** Ends a lease, which the caller has locked, and its attempt, and gives the running place back. */
export async function closeLease(
  ctx: Context,
  tx: Db,
  lease: LeaseRow,
  end: AttemptEnd,
  waiting: 0 | 1,
): Promise<void> {
  const { phases } = await getAttempt(tx, lease.token)
  await runTogether(tx, closeStatements(ctx, [{ lease, phases, end }]))
  await moveCounters(tx, placeGivenBack(lease, waiting))
}

function placeGivenBack({ teamId, projectId, kind }: LeaseRow, waiting: 0 | 1): CounterChange {
  return { teamId, projectId, kind, waiting, running: -1 }
}

interface Requeueing {
  job: Omit<JobRow, 'input'>
  reason: string
  delayMs: number
  change?: { infrastructureFailures?: number; uncountedAttempts?: number; completion?: Final['completion'] }
}

const queuedColumns = {
  ofKey: 'text',
  newFailures: 'bigint',
  newUncounted: 'bigint',
  newToken: 'bigint',
  newHash: 'text',
} as const

/** The statements that put jobs back into the queue, at once or after a delay; the place each had is its own, so the cap does not apply. */
function requeueStatements(ctx: Context, requeuings: readonly Requeueing[]): Statement[] {
  if (requeuings.length === 0) return []
  const now = ctx.clock.now()
  const changes = requeuings.map(({ job, change = {} }) => ({
    ofKey: job.id,
    newFailures: change.infrastructureFailures ?? job.infrastructureFailures,
    newUncounted: change.uncountedAttempts ?? job.uncountedAttempts,
    newToken: change.completion?.token ?? job.completedToken,
    newHash: change.completion?.hash ?? job.completionHash,
  }))
  const set = statement`state = 'queued', phase = null, progress = null, message = null, infrastructure_failures = new_failures,
    uncounted_attempts = new_uncounted, completed_token = new_token, completion_hash = new_hash`
  return [
    updateEach('jobs', 'id', set, queuedColumns, changes),
    insertQueuedRows(requeuings.map(({ job, delayMs }) => ({ job, runAt: now + delayMs }))),
    insertEvents(
      now,
      requeuings.map(({ job, reason }) => ({ jobId: job.id, kind: 'state', data: { state: 'queued', reason } })),
    ),
  ]
}

/** Puts a job back into the queue, at once or after a delay; the place it had is its own, so the cap does not apply. */
export function requeueJob(
  ctx: Context,
  tx: Db,
  job: Requeueing['job'],
  reason: string,
  delayMs: number,
  change: NonNullable<Requeueing['change']> = {},
): Promise<void> {
  return runTogether(tx, requeueStatements(ctx, [{ job, reason, delayMs, change }]))
}

/** How leases and their jobs end, gathered: what becomes of many takes no more statements than what becomes of one. */
export interface Ends {
  closed: (Closing & { waiting: 0 | 1 })[]
  finished: Ending[]
  requeued: Requeueing[]
}

export function writeEnds(
  ctx: Context,
  tx: Db,
  { closed, finished, requeued }: Ends,
  more: readonly Statement[],
): Promise<void> {
  return runTogether(tx, [
    ...closeStatements(ctx, closed),
    ...finishStatements(ctx, finished),
    ...requeueStatements(ctx, requeued),
    ...more,
  ])
}

/** Gives the running places of ended leases back; last in the transaction, as everywhere. */
export async function countEnds(tx: Db, { closed }: Ends): Promise<void> {
  const changes = closed.map(({ lease, waiting }) => ({ ...placeGivenBack(lease, waiting), isBeyondCap: true }))
  await countTogether(tx, changes)
}

/** What follows a failure: another try after a delay, or the end. The machine's failures and the work's own have separate budgets. */
export function verdictOn(
  job: Pick<JobRow, 'attempt' | 'uncountedAttempts' | 'infrastructureFailures' | 'maxAttempts' | 'backoff'>,
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
