import { system } from '../platform/actor.ts'
import { type Batches, createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isForeignKeyViolation } from '../platform/db/dialect.ts'
import { insert, oneOf, only, rows, run, runTogether, statement } from '../platform/db/statement.ts'
import { disable } from './disable.ts'
import { breakerDelayMs, policy, retryDelayMs } from './policy.ts'
import { type DeliveryRow, lockWebhook, setWebhook } from './queries.ts'

/** One attempt and what came of it. */
export interface Attempt {
  readonly deliveryId: string
  readonly webhookId: string
  /** Counted from 1 over the whole life of the delivery, and since it was last put into the queue. */
  readonly number: number
  readonly tries: number
  readonly at: number
  readonly durationMs: number
  readonly status: number | null
  /** Null for a success. `address_refused` and `gone` are final. */
  readonly error: string | null
  readonly remoteAddress: string | null
  readonly response: string | null
  readonly retryAfterMs: number | undefined
}

const maxBatch = 500
const recorders = new WeakMap<Context, Batches<Attempt, void>>()

/** Remembers an attempt that succeeded, together with whatever else succeeds at the moment; a delivery that was deleted meanwhile is no fault. */
export async function recordSuccess(ctx: Context, attempt: Attempt): Promise<void> {
  const recorder = recorders.get(ctx) ?? createBatches((attempts) => recordTogether(ctx, attempts), maxBatch)
  recorders.set(ctx, recorder)
  try {
    await recorder.add(attempt)
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error
  }
}

async function recordTogether(ctx: Context, attempts: readonly Attempt[]): Promise<undefined[]> {
  await ctx.db.transaction((tx) => runTogether(tx, [setSucceeded(attempts), insertAttempts(attempts)]))
  return attempts.map(() => undefined)
}

function setSucceeded(attempts: readonly Attempt[]) {
  const list = attempts.map(({ deliveryId, number, tries, status, at, durationMs }) => ({
    ...{ ofId: deliveryId, attemptsNow: number, triesNow: tries, statusNow: status, endedAt: at + durationMs },
  }))
  const columns = {
    ofId: 'text',
    attemptsNow: 'bigint',
    triesNow: 'bigint',
    statusNow: 'bigint',
    endedAt: 'bigint',
  } as const
  const ids = attempts.map(({ deliveryId }) => deliveryId)
  // Delivered is delivered, also when the endpoint was disabled meanwhile.
  return statement`update webhook_deliveries set state = 'succeeded', attempts = attempts_now, tries = tries_now, finished_at = ended_at,
      last_status = status_now, last_error = null
    from ${rows(columns, list)} where id = of_id and state in ('pending', 'skipped') ${only('postgres', statement`and id ${oneOf('text', ids)}`)}`
}

const attemptColumns = {
  deliveryId: 'text',
  number: 'bigint',
  at: 'bigint',
  durationMs: 'bigint',
  status: 'bigint',
  error: 'text',
  remoteAddress: 'text',
  response: 'text',
} as const

function insertAttempts(attempts: readonly Attempt[]) {
  return insert('webhook_attempts', attemptColumns, attempts, 'on conflict do nothing')
}

/** What an endpoint's lane goes by after a failure or a recovery; undefined: the endpoint takes nothing any more. */
export interface Health {
  readonly failures: number
  readonly openUntil: number | null
}

/** Ends the row of failures: the endpoint has answered again. */
export async function recordRecovery(ctx: Context, webhookId: string): Promise<void> {
  await ctx.db.kysely
    .updateTable('webhooks')
    .set({ failingSince: null, failures: 0, openUntil: null })
    .where('id', '=', webhookId)
    .execute()
}

/**
 * Remembers an attempt that failed: the delivery is due again by the schedule or has failed for good, the breaker may open, and an endpoint that is gone or has failed
 * for days is disabled.
 */
export function recordFailure(ctx: Context, attempt: Attempt): Promise<Health | undefined> {
  return ctx.db.transaction(async (tx) => {
    const webhook = await lockWebhook(tx, attempt.webhookId)
    if (webhook === undefined) return undefined
    // Deleted or skipped meanwhile, or somebody else's by now: then this attempt changes nothing.
    if (!(await setFailed(ctx, tx, attempt)))
      return webhook.disabledAt === null ? { failures: webhook.failures, openUntil: webhook.openUntil } : undefined
    await run(tx, insertAttempts([attempt]))
    const now = ctx.clock.now()
    const failures = webhook.failures + 1
    const failingSince = webhook.failingSince ?? attempt.at
    const openUntil = openUntilAfter(attempt, failures, now)
    const row = await setWebhook(tx, webhook.id, { failures, failingSince, openUntil })
    const isFailing = now - failingSince >= policy.disableAfterMs && failures >= policy.disableAfterFailures
    if (webhook.disabledAt !== null) return undefined
    if (attempt.error === 'gone' || isFailing) {
      await disable(ctx, tx, system, row, attempt.error === 'gone' ? 'gone' : 'failing')
      return undefined
    }
    return { failures, openUntil }
  })
}

async function setFailed(ctx: Context, tx: Db, attempt: Attempt): Promise<boolean> {
  const { error, tries, retryAfterMs } = attempt
  const isFinal = error === 'address_refused' || error === 'gone'
  const delayMs = isFinal ? undefined : retryDelayMs(tries, ctx.random.fraction(), retryAfterMs)
  const now = ctx.clock.now()
  const next: Partial<DeliveryRow> =
    delayMs === undefined ? { state: 'failed', finishedAt: now } : { runAt: now + delayMs }
  const result = await tx
    .updateTable('webhookDeliveries')
    .set({ ...next, attempts: attempt.number, tries, lastStatus: attempt.status, lastError: error })
    .where('id', '=', attempt.deliveryId)
    .where('state', '=', 'pending')
    .where('attempts', '=', attempt.number - 1)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Who says that it is too busy is left alone for as long as it says, up to an hour; who fails again and again, for longer each time. */
function openUntilAfter({ status, retryAfterMs }: Attempt, failures: number, now: number): number | null {
  const isBusy = status === 429 || status === 503
  const askedMs = isBusy ? Math.min(retryAfterMs ?? 0, policy.longestPauseMs) : 0
  const delayMs = Math.max(askedMs, breakerDelayMs(failures))
  return delayMs === 0 ? null : now + delayMs
}
