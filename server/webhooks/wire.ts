import type { Delivery, DeliveryAttempt, Webhook } from '@hivesync/contracts/webhooks.ts'
import type { Selectable } from 'kysely'
import { isoTime } from '../platform/clock.ts'
import type { Schema } from '../platform/db/schema.ts'
import { AppError } from '../platform/errors.ts'
import { headersOf, messageIdOf } from './attempt.ts'
import type { DeliveryRow, KeyRow, WebhookRow } from './queries.ts'

export function requireFound(row: WebhookRow | undefined, webhookId: string): WebhookRow {
  if (row === undefined) throw new AppError('webhook_not_found', { webhookId })
  return row
}

export function toWebhook(row: WebhookRow, keys: readonly KeyRow[], now: number): Webhook {
  const { id, teamId, url, description, disabledReason, failures, createdBy } = row
  const isPaused = row.openUntil !== null && row.openUntil > now
  return {
    ...{ id, teamId, url, description, disabledReason, failures, createdBy },
    events: JSON.parse(row.events),
    state: row.disabledAt !== null ? 'disabled' : isPaused ? 'paused' : 'active',
    disabledAt: isoTime(row.disabledAt),
    pausedUntil: isPaused ? isoTime(row.openUntil) : null,
    failingSince: isoTime(row.failingSince),
    publicKey: keys[0]?.publicKey ?? '',
    keys: keys.map(toKey),
    createdAt: isoTime(row.createdAt),
  }
}

export function toKey({ id, publicKey, createdAt, expiresAt }: KeyRow): Webhook['keys'][number] {
  return { id, publicKey, createdAt: isoTime(createdAt), expiresAt: isoTime(expiresAt) }
}

export function toDelivery(row: DeliveryRow): Delivery {
  const { id, type, state, attempts, lastStatus, lastError } = row
  return {
    ...{ id, type, state, attempts, lastStatus, lastError },
    messageId: messageIdOf(row.eventId),
    createdAt: isoTime(row.createdAt),
    nextAttemptAt: state === 'pending' ? isoTime(row.runAt) : null,
    finishedAt: isoTime(row.finishedAt),
  }
}

export function toAttempt(delivery: DeliveryRow, row: Selectable<Schema['webhookAttempts']>): DeliveryAttempt {
  const { number, durationMs, status, error, remoteAddress, response } = row
  return {
    ...{ number, durationMs, status, error, remoteAddress, response },
    at: isoTime(row.at),
    // As they were: nothing else goes into them. A signature proves who sends to whoever has not seen it.
    requestHeaders: headersOf(delivery, row.at, 'v1,*** v1a,***'),
  }
}
