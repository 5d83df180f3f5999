import {
  isWebhookEventType,
  matchesFilter,
  type WebhookEventType,
  webhookEvents,
} from '@hivesync/contracts/webhook-events.ts'
import type { OutboxConsumer, OutboxEvent } from '../outbox/outbox.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { rows, run, statement } from '../platform/db/statement.ts'
import { countWebhooksOf, insertDeliveries, lockWebhooksOf, type NewDelivery, type WebhookRow } from './queries.ts'

type Told = OutboxEvent & { readonly topic: WebhookEventType; readonly teamId: string }

/**
 * So many deliveries are made in one transaction: on SQLite nobody else writes meanwhile, and one over five seconds would be undone and begin again for ever. 100,000
 * took 4.4 s there, with the whole process waiting.
 */
const maxDeliveries = 2000

/**
 * Makes a delivery of each event for each endpoint that listens to it, under an id that stays with the event; for a disabled endpoint a skipped one, which a replay
 * delivers. Events that are not in the catalog go to nobody.
 */
export const toWebhooks: OutboxConsumer = {
  async countFitting(tx, events) {
    const teamIds = new Set(events.filter(isTold).map(({ teamId }) => teamId))
    if (teamIds.size === 0) return events.length
    const endpoints = await countWebhooksOf(tx, [...teamIds])
    let deliveries = 0
    const tooMany = events.findIndex((event) => {
      if (isTold(event)) deliveries += endpoints.get(event.teamId) ?? 0
      return deliveries > maxDeliveries
    })
    return tooMany < 0 ? events.length : tooMany
  },
  async consume(ctx, tx, events) {
    const told = events.filter(isTold)
    if (told.length === 0) return
    const now = ctx.clock.now()
    const byTeam = Map.groupBy(await lockWebhooksOf(tx, [...new Set(told.map(({ teamId }) => teamId))]), toTeamId)
    const deliveries: NewDelivery[] = []
    const woken = new Map<string, WebhookRow>()
    for (const event of told) {
      const listening = (byTeam.get(event.teamId) ?? []).filter(listensTo(event.topic))
      if (listening.length === 0) continue
      const message = { eventId: ctx.random.id(), type: event.topic, payload: payloadOf(event) }
      for (const webhook of listening) {
        deliveries.push(draftDelivery(ctx, webhook, message, now))
        woken.set(webhook.id, webhook)
      }
    }
    await insertDeliveries(tx, deliveries)
    await wake(tx, [...woken.values()], now)
  },
}

function isTold(event: OutboxEvent): event is Told {
  return event.teamId !== null && isWebhookEventType(event.topic)
}

const toTeamId = ({ teamId }: WebhookRow): string => teamId

function listensTo(type: string): (webhook: WebhookRow) => boolean {
  return ({ events }) => (JSON.parse(events) as string[]).some((filter) => matchesFilter(filter, type))
}

/** The body as it is signed and sent: what the catalog names of the event, and nothing else that was put into the outbox. */
export function payloadOf({ at, topic, payload }: Pick<Told, 'at' | 'topic' | 'payload'>): string {
  const { version, data } = webhookEvents[topic]
  const named = Object.keys(data.properties).filter((name) => payload[name] !== undefined)
  const thin = Object.fromEntries(named.map((name) => [name, payload[name]]))
  return JSON.stringify({ type: topic, timestamp: isoTime(at), version, data: thin })
}

export function draftDelivery(
  ctx: Context,
  webhook: WebhookRow,
  message: Pick<NewDelivery, 'eventId' | 'type' | 'payload'>,
  now: number,
): NewDelivery {
  const isSkipped = webhook.disabledAt !== null
  return {
    ...message,
    id: ctx.random.id(),
    webhookId: webhook.id,
    state: isSkipped ? 'skipped' : 'pending',
    runAt: now,
    createdAt: now,
    finishedAt: isSkipped ? now : null,
  }
}

/** Has endpoints looked at, each as soon as its breaker allows; they must be locked. */
export async function wake(tx: Db, webhooks: readonly WebhookRow[], now: number): Promise<void> {
  const due = webhooks.filter(({ disabledAt, openUntil, nextRunAt }) => {
    const at = Math.max(now, openUntil ?? 0)
    return disabledAt === null && (nextRunAt === null || nextRunAt > at)
  })
  if (due.length === 0) return
  const list = due.map(({ id }) => ({ ofId: id }))
  // Joined: given 5,000 as a list of values, PostgreSQL read the list anew for each row of the table, for 14 s.
  await run(
    tx,
    statement`update webhooks set next_run_at = case when open_until > ${now} then open_until else ${now} end
      from ${rows({ ofId: 'text' }, list)} where id = of_id`,
  )
}
