import type { Delivery, DeliveryAttempt } from '@hivesync/contracts/webhooks.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { requireTeam } from '../teams/teams.ts'
import { type DeliveryRow, findDelivery, findWebhook, listAttempts, listDeliveryRows } from './queries.ts'
import type { WebhookPlace } from './webhooks.ts'
import { requireFound, toAttempt, toDelivery } from './wire.ts'

const maxAttempts = 50

export async function listDeliveries(
  ctx: Context,
  actor: Actor,
  place: WebhookPlace,
  query: { limit?: string; cursor?: string; state?: DeliveryRow['state'] },
): Promise<Page<Delivery>> {
  await requireWebhook(ctx, actor, place)
  const request = pageRequest(query)
  const rows = await listDeliveryRows(ctx.db.kysely, place.webhookId, request, query.state)
  return toPage(rows, request, (row) => row.id, toDelivery)
}

/** One delivery with its attempts; what the receiver answered is shown to the team's admins and nobody else. */
export async function getDelivery(
  ctx: Context,
  actor: Actor,
  place: WebhookPlace & { readonly deliveryId: string },
): Promise<Delivery & { payload: string; attemptLog: DeliveryAttempt[] }> {
  await requireWebhook(ctx, actor, place)
  const { webhookId, deliveryId } = place
  const row = await findDelivery(ctx.db.kysely, webhookId, deliveryId)
  if (row === undefined) throw new AppError('delivery_not_found', { webhookId })
  const attempts = await listAttempts(ctx.db.kysely, deliveryId, maxAttempts)
  const attemptLog = attempts.map((attempt) => toAttempt(row, attempt))
  return { ...toDelivery(row), payload: row.payload, attemptLog }
}

async function requireWebhook(ctx: Context, actor: Actor, { teamId, webhookId }: WebhookPlace): Promise<void> {
  await requireTeam(ctx.db.kysely, actor, teamId, 'manageWebhooks')
  requireFound(await findWebhook(ctx.db.kysely, teamId, webhookId), webhookId)
}
