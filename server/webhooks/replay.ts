import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type { replayWebhook as contract, Delivery } from '@hivesync/contracts/webhooks.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { requireTeam } from '../teams/teams.ts'
import { draftDelivery, payloadOf, wake } from './fan-out.ts'
import { policy } from './policy.ts'
import {
  countWaiting,
  type DeliveryRow,
  findDelivery,
  insertDeliveries,
  lockWebhook,
  requeue,
  type WebhookRow,
} from './queries.ts'
import type { WebhookPlace } from './webhooks.ts'
import { requireFound, toDelivery } from './wire.ts'

export type ReplayRequest =
  | { deliveryId: string }
  | { failedSince: string }
  | { from: string; to: string; types?: readonly string[] }

/** Sends the event `webhook.test` to one endpoint, on the way that all others take. */
export async function testWebhook(ctx: Context, actor: Actor, place: WebhookPlace): Promise<Delivery> {
  return ctx.db.transaction(async (tx) => {
    const { webhook, now } = await lockReady(ctx, tx, actor, place)
    const payload = payloadOf({ at: now, topic: 'webhook.test', payload: { webhookId: webhook.id } })
    const row = draftDelivery(ctx, webhook, { eventId: ctx.random.id(), type: 'webhook.test', payload }, now)
    await insertDeliveries(tx, [row])
    await wake(tx, [webhook], now)
    await audit(ctx, tx, actor, place, 'webhook.tested', 1)
    return toDelivery({ ...row, attempts: 0, tries: 0, lastStatus: null, lastError: null })
  })
}

/**
 * Delivers again, under the ids that the messages had: one delivery, whatever failed or was skipped since a time, or all of a range. At most 1,000 wait at a time;
 * `remaining` says that there is more, and `next` from when on.
 */
export async function replayWebhook(
  ctx: Context,
  actor: Actor,
  place: WebhookPlace,
  request: ReplayRequest,
): Promise<ReplyOf<typeof contract>> {
  return ctx.db.transaction(async (tx) => {
    const { webhook, now, room } = await lockReady(ctx, tx, actor, place)
    const found = await findReplayed(tx, webhook.id, request, room + 1)
    const taken = found.slice(0, room).map(({ id }) => id)
    await requeue(tx, taken, now)
    if (taken.length > 0) await wake(tx, [webhook], now)
    await audit(ctx, tx, actor, place, 'webhook.replayed', taken.length)
    const next = found[room]
    return { replayed: taken.length, remaining: next !== undefined, next: isoTime(next?.createdAt ?? null) }
  })
}

/** The endpoint, locked, with how many more deliveries may wait for it. */
async function lockReady(
  ctx: Context,
  tx: Db,
  actor: Actor,
  { teamId, webhookId }: WebhookPlace,
): Promise<{ webhook: WebhookRow; now: number; room: number }> {
  await requireTeam(tx, actor, teamId, 'manageWebhooks')
  const webhook = requireFound(await lockWebhook(tx, webhookId, teamId), webhookId)
  if (webhook.disabledAt !== null) throw new AppError('webhook_disabled', { webhookId })
  const room = policy.maxWaiting - (await countWaiting(tx, webhookId, policy.maxWaiting))
  if (room === 0) throw new AppError('webhook_busy', { webhookId })
  return { webhook, now: ctx.clock.now(), room }
}

type Replayed = Pick<DeliveryRow, 'id' | 'createdAt'>

async function findReplayed(tx: Db, webhookId: string, request: ReplayRequest, limit: number): Promise<Replayed[]> {
  if ('deliveryId' in request) {
    const row = await findDelivery(tx, webhookId, request.deliveryId)
    if (row === undefined) throw new AppError('delivery_not_found', { webhookId })
    return row.state === 'pending' ? [] : [row]
  }
  const ended = tx
    .selectFrom('webhookDeliveries')
    .select(['id', 'createdAt'])
    .where('webhookId', '=', webhookId)
    .where('state', '<>', 'pending')
    .orderBy('createdAt')
    .orderBy('id')
    .limit(limit)
  const chosen =
    'failedSince' in request
      ? ended.where('state', 'in', ['failed', 'skipped']).where('createdAt', '>=', Date.parse(request.failedSince))
      : ended.where('createdAt', '>=', Date.parse(request.from)).where('createdAt', '<=', Date.parse(request.to))
  const types = 'types' in request ? request.types : undefined
  return (types === undefined ? chosen : chosen.where('type', 'in', [...types])).execute()
}

function audit(
  ctx: Context,
  tx: Db,
  actor: Actor,
  { teamId, webhookId }: WebhookPlace,
  action: string,
  count: number,
): Promise<void> {
  const target = { kind: 'webhook', id: webhookId }
  return recordAudit(ctx, tx, actor, { action, target, teamId, details: { count } })
}
