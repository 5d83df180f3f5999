import type { Generated } from 'kysely'

/** The tables of webhooks; the SQL in migrations/ is the source. */
export interface WebhookSchema {
  outboxTurn: { id: number }
  webhooks: Webhooks
  webhookKeys: WebhookKeys
  webhookDeliveries: WebhookDeliveries
  webhookAttempts: WebhookAttempts
}

interface Webhooks {
  id: string
  teamId: string
  url: string
  description: string | null
  /** JSON list. */
  events: string
  createdBy: string | null
  createdAt: number
  updatedAt: number
  disabledAt: number | null
  disabledReason: 'by_hand' | 'gone' | 'failing' | null
  failingSince: number | null
  failures: Generated<number>
  openUntil: number | null
  nextRunAt: number | null
  leasedBy: string | null
  leasedUntil: number | null
}

interface WebhookKeys {
  id: string
  webhookId: string
  sealedSecret: string
  sealedPrivateKey: string
  publicKey: string
  createdAt: number
  expiresAt: number | null
}

interface WebhookDeliveries {
  id: string
  webhookId: string
  eventId: string
  type: string
  payload: string
  state: 'pending' | 'succeeded' | 'failed' | 'skipped'
  attempts: Generated<number>
  tries: Generated<number>
  runAt: number
  createdAt: number
  finishedAt: number | null
  lastStatus: number | null
  lastError: string | null
}

interface WebhookAttempts {
  deliveryId: string
  number: number
  at: number
  durationMs: number
  status: number | null
  error: string | null
  remoteAddress: string | null
  response: string | null
}
