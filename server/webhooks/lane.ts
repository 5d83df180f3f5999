import type { Context } from '../platform/context.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import type { WebhookSigner } from '../platform/crypto/webhook-signer.ts'
import { attemptDelivery } from './attempt.ts'
import { webhookAttempts } from './gauges.ts'
import { openSigner } from './keys.ts'
import { policy } from './policy.ts'
import {
  type DeliveryRow,
  findNextRun,
  listDue,
  listKeys,
  lockWebhook,
  renewLease,
  setWebhook,
  type WebhookRow,
} from './queries.ts'
import { type Attempt, recordFailure, recordRecovery, recordSuccess } from './record.ts'

/** An endpoint as one process delivers to it at the moment. */
export interface Lane {
  readonly webhook: WebhookRow
  readonly url: URL
  readonly signer: WebhookSigner
  /** Whether the endpoint was changed since it was read, and when its place is for others. */
  readonly news: { isStale: boolean; readonly endsAt: number }
  /** What is to be written of attempts that succeeded; a round ends when it is. */
  readonly recording: Promise<void>[]
  leasedAt: number
  failures: number
  /** Nothing more is sent in this round: the breaker opened, the endpoint takes nothing any more, or the lease is gone. */
  isOver: boolean
}

/**
 * Delivers what is due for an endpoint that this process has leased, until nothing is or half a minute is over, then gives the lease back: places are few, and endpoints
 * that are slow must not keep the others out of them. Rows and keys are read anew for each round, so that a
 * change counts soon, in this process at once.
 */
export async function runLane(ctx: Context, webhookId: string, holder: string): Promise<void> {
  const endsAt = ctx.clock.now() + policy.sliceMs
  while ((await runRound(ctx, webhookId, holder, endsAt)) && ctx.clock.now() < endsAt);
  // Not after a fault of ours: until the lease runs out nobody sends again what could not be written down.
  await release(ctx, webhookId, holder)
}

/** False when there is nothing more to do at the moment. */
async function runRound(ctx: Context, webhookId: string, holder: string, endsAt: number): Promise<boolean> {
  const news = { isStale: false, endsAt }
  // From before the row is read: what changes after it must not be missed.
  const stopListening = ctx.bus.subscribe(`webhook:${webhookId}`, () => {
    news.isStale = true
  })
  try {
    const lane = await openLane(ctx, webhookId, holder, news)
    return lane !== undefined && !ctx.net.isClosed && (await deliverDue(ctx, lane, holder))
  } finally {
    stopListening()
  }
}

async function deliverDue(ctx: Context, lane: Lane, holder: string): Promise<boolean> {
  // An endpoint that failed lately is tried with one delivery: only when that succeeds does it get the others.
  const isProbe = lane.failures >= policy.breakerFailures
  const due = await listDue(ctx.db.kysely, lane.webhook.id, ctx.clock.now(), isProbe ? 1 : policy.roundSize)
  if (due.length === 0) return false
  const queue = due[Symbol.iterator]()
  const slots = Array.from({ length: policy.concurrency }, () => deliverFrom(ctx, lane, queue, holder))
  // All of it, whatever becomes of one: nothing is under way when the round has ended.
  const outcomes = [...(await Promise.allSettled(slots)), ...(await Promise.allSettled(lane.recording))]
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return true
}

async function openLane(
  ctx: Context,
  webhookId: string,
  holder: string,
  news: Lane['news'],
): Promise<Lane | undefined> {
  const { clock, db } = ctx
  const now = clock.now()
  if (!(await renewLease(db.kysely, webhookId, holder, now + policy.leaseMs))) return undefined
  const webhook = await db.kysely.selectFrom('webhooks').selectAll().where('id', '=', webhookId).executeTakeFirst()
  if (webhook === undefined || webhook.disabledAt !== null || (webhook.openUntil ?? 0) > now) return undefined
  try {
    const signer = openSigner(ctx, await listKeys(db.kysely, [webhookId], now))
    return {
      webhook,
      url: new URL(webhook.url),
      signer,
      news,
      recording: [],
      leasedAt: now,
      failures: webhook.failures,
      isOver: false,
    }
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    // Unsigned it would be worthless: nothing is sent until the secret is listed again or the keys are made anew.
    ctx.log.error({ event: 'webhook_key_unreadable', name: webhookId, reason: error.reason })
    await db.kysely
      .updateTable('webhooks')
      .set({ openUntil: now + policy.longestBreakerMs })
      .where('id', '=', webhookId)
      .execute()
    return undefined
  }
}

async function deliverFrom(ctx: Context, lane: Lane, queue: Iterator<DeliveryRow>, holder: string): Promise<void> {
  const { news } = lane
  const isOver = (): boolean => lane.isOver || news.isStale || ctx.net.isClosed || ctx.clock.now() >= news.endsAt
  while (!isOver() && (await holdLease(ctx, lane, holder))) {
    // Asked again: the other slot may have failed meanwhile.
    const next = isOver() ? undefined : queue.next()
    if (next === undefined || next.done === true) return
    const attempt = await attemptDelivery(ctx, lane, next.value)
    if (attempt === undefined) return
    if (attempt.error === null) await settleSuccess(ctx, lane, attempt)
    else await settleFailure(ctx, lane, attempt)
  }
}

async function holdLease(ctx: Context, lane: Lane, holder: string): Promise<boolean> {
  const now = ctx.clock.now()
  if (now - lane.leasedAt < policy.renewAfterMs) return true
  lane.leasedAt = now
  if (await renewLease(ctx.db.kysely, lane.webhook.id, holder, now + policy.leaseMs)) return true
  lane.isOver = true
  return false
}

async function settleSuccess(ctx: Context, lane: Lane, attempt: Attempt): Promise<void> {
  ctx.metrics.count(webhookAttempts, { outcome: 'succeeded' })
  const recorded = recordSuccess(ctx, attempt)
  // Not waited for here: the next one is under way while this is written. A failure to write is the round's.
  recorded.catch(() => {
    lane.isOver = true
  })
  lane.recording.push(recorded)
  if (lane.failures === 0) return
  lane.failures = 0
  await recordRecovery(ctx, lane.webhook.id)
}

async function settleFailure(ctx: Context, lane: Lane, attempt: Attempt): Promise<void> {
  ctx.metrics.count(webhookAttempts, { outcome: 'failed' })
  const health = await recordFailure(ctx, attempt)
  if (health === undefined || health.openUntil !== null) lane.isOver = true
  if (health !== undefined) lane.failures = health.failures
}

/** Gives the lease back and says when the endpoint is to be looked at again. */
async function release(ctx: Context, webhookId: string, holder: string): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    const webhook = await lockWebhook(tx, webhookId)
    if (webhook?.leasedBy !== holder) return
    const nextRunAt = webhook.disabledAt === null ? await findNextRun(tx, webhookId) : null
    await setWebhook(tx, webhookId, {
      leasedBy: null,
      leasedUntil: null,
      // Not before now: who has waited longer is next.
      nextRunAt: nextRunAt === null ? null : Math.max(nextRunAt, webhook.openUntil ?? 0, ctx.clock.now()),
    })
  })
}
