import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Count, Id, nullable, object, PageQuery, page, Time } from './values.ts'
import { webhookEventTypes, webhookFilters } from './webhook-events.ts'

/** An absolute `https://` address; which hosts and ports it may name is the server's to judge, at this moment and at each delivery. */
export const WebhookUrl = Type.String({ minLength: 1, maxLength: 2048, pattern: '^[Hh][Tt][Tt][Pp][Ss]?://[^\\s]+$' })
const Filters = Type.Array(Type.Enum(webhookFilters), { minItems: 1, maxItems: 50, uniqueItems: true })
const Description = Type.String({ maxLength: 200, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })
const EventType = Type.Enum(webhookEventTypes)

export const WebhookKey = object({
  id: Id,
  /** `whpk_` and the raw Ed25519 key in base64: verifies the signatures `v1a`. */
  publicKey: Type.String(),
  createdAt: Time,
  /** When an old key ends that signs beside the new one; null for the key that stays. */
  expiresAt: nullable(Time),
})
export const Webhook = object({
  id: Id,
  teamId: Id,
  url: Type.String(),
  description: nullable(Type.String()),
  events: Type.Array(Type.String()),
  /** `paused`: the breaker is open after failures, and the next attempt is at `pausedUntil`. */
  state: Type.Enum(['active', 'paused', 'disabled']),
  disabledReason: nullable(Type.Enum(['by_hand', 'gone', 'failing'])),
  disabledAt: nullable(Time),
  pausedUntil: nullable(Time),
  /** Since when every attempt has failed; null while it answers. */
  failingSince: nullable(Time),
  failures: Count,
  publicKey: Type.String(),
  /** The newest first. */
  keys: Type.Array(WebhookKey),
  createdBy: nullable(Id),
  createdAt: Time,
})
export type Webhook = Static<typeof Webhook>

/** Shown this once: `whsec_` and base64, for the signatures `v1`. */
const Secret = Type.String({ description: 'The shared secret, which is shown this once' })
export const NewWebhook = object({ ...Webhook.properties, secret: Secret })
export type NewWebhook = Static<typeof NewWebhook>

export const DeliveryState = Type.Enum(['pending', 'succeeded', 'failed', 'skipped'])
export const Delivery = object({
  id: Id,
  /** The header `webhook-id`: the same at each attempt, and for all endpoints that hear of the event. */
  messageId: Type.String(),
  type: Type.String(),
  /** `skipped`: the endpoint was disabled; a replay delivers it. */
  state: DeliveryState,
  attempts: Count,
  createdAt: Time,
  nextAttemptAt: nullable(Time),
  finishedAt: nullable(Time),
  lastStatus: nullable(Type.Integer()),
  lastError: nullable(Type.String()),
})
export type Delivery = Static<typeof Delivery>
export const DeliveryAttempt = object({
  number: Count,
  at: Time,
  durationMs: Count,
  status: nullable(Type.Integer()),
  /** Why it did not succeed: see docs/webhooks.md; null when it did. */
  error: nullable(Type.String()),
  remoteAddress: nullable(Type.String()),
  /** What was sent beside the body; the signatures are masked. */
  requestHeaders: Type.Record(Type.String(), Type.String()),
  /** The first 4 KiB of the answer, as UTF-8. */
  response: nullable(Type.String()),
})
export type DeliveryAttempt = Static<typeof DeliveryAttempt>
export const DeliveryWithAttempts = object({
  ...Delivery.properties,
  payload: Type.String(),
  /** The newest 50, newest first. */
  attemptLog: Type.Array(DeliveryAttempt),
})

const path = '/api/v1/teams/:teamId/webhooks'
const one = `${path}/:webhookId`
const teamParams = object({ teamId: Id })
const webhookParams = object({ teamId: Id, webhookId: Id })
const reading = { method: 'GET', access: 'webhooks:read', limit: 'read', status: 200 } as const
const writing = { access: 'webhooks:write', limit: 'write' } as const
const unknownTeam = ['team_not_found', 'permission_denied'] as const
const unknownWebhook = [...unknownTeam, 'webhook_not_found'] as const

export const createWebhook = endpoint({
  ...writing,
  name: 'createWebhook',
  summary: "Tell an address of a team's events; its admins and owners",
  method: 'POST',
  path,
  params: teamParams,
  body: object({ url: WebhookUrl, events: Filters, description: Type.Optional(nullable(Description)) }),
  status: 201,
  reply: NewWebhook,
  errors: [...unknownTeam, 'webhook_url_refused', 'too_many_webhooks'],
})

export const listWebhooks = endpoint({
  ...reading,
  name: 'listWebhooks',
  summary: "A team's webhooks, newest first; its admins and owners",
  path,
  params: teamParams,
  query: object(PageQuery),
  reply: page(Webhook),
  errors: unknownTeam,
})

export const getWebhook = endpoint({
  ...reading,
  name: 'getWebhook',
  summary: 'One webhook, with its public keys',
  path: one,
  params: webhookParams,
  reply: Webhook,
  errors: unknownWebhook,
})

export const updateWebhook = endpoint({
  ...writing,
  name: 'updateWebhook',
  summary: 'Change a webhook, disable it or enable it again; what came meanwhile was skipped and can be replayed',
  method: 'PATCH',
  path: one,
  params: webhookParams,
  body: object({
    url: Type.Optional(WebhookUrl),
    events: Type.Optional(Filters),
    description: Type.Optional(nullable(Description)),
    enabled: Type.Optional(Type.Boolean()),
  }),
  status: 200,
  reply: Webhook,
  errors: [...unknownWebhook, 'webhook_url_refused'],
})

export const deleteWebhook = endpoint({
  ...writing,
  name: 'deleteWebhook',
  summary: 'Delete a webhook with its deliveries',
  method: 'DELETE',
  path: one,
  params: webhookParams,
  status: 204,
  reply: null,
  errors: unknownWebhook,
})

export const rotateWebhookSecret = endpoint({
  ...writing,
  name: 'rotateWebhookSecret',
  summary: 'Make new keys; the old ones sign beside them for the grace, and at 0 seconds no more',
  method: 'POST',
  path: `${one}/rotate-secret`,
  params: webhookParams,
  body: object({ graceSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 7 * 86_400 })) }),
  status: 200,
  reply: NewWebhook,
  errors: [...unknownWebhook, 'too_many_webhook_keys'],
})

export const testWebhook = endpoint({
  ...writing,
  name: 'testWebhook',
  summary: 'Send the event webhook.test to this webhook, on the way that all others take',
  method: 'POST',
  path: `${one}/test`,
  params: webhookParams,
  status: 202,
  reply: Delivery,
  errors: [...unknownWebhook, 'webhook_disabled', 'webhook_busy'],
})

export const replayWebhook = endpoint({
  ...writing,
  name: 'replayWebhook',
  summary:
    'Deliver again, under the same message id: one delivery, what failed or was skipped since a time, or a range',
  method: 'POST',
  path: `${one}/replay`,
  params: webhookParams,
  body: Type.Union([
    object({ deliveryId: Id }),
    object({ failedSince: Time }),
    object({
      from: Time,
      to: Time,
      types: Type.Optional(Type.Array(EventType, { minItems: 1, maxItems: 50, uniqueItems: true })),
    }),
  ]),
  status: 202,
  /** `remaining`: there is more than 1,000 to replay; when these are delivered ask again, from `next` on. */
  reply: object({ replayed: Count, remaining: Type.Boolean(), next: nullable(Time) }),
  errors: [...unknownWebhook, 'delivery_not_found', 'webhook_disabled', 'webhook_busy'],
})

export const listDeliveries = endpoint({
  ...reading,
  name: 'listDeliveries',
  summary: 'What was or is to be delivered to a webhook in the last 30 days, newest first',
  path: `${one}/deliveries`,
  params: webhookParams,
  query: object({ ...PageQuery, state: Type.Optional(DeliveryState) }),
  reply: page(Delivery),
  errors: unknownWebhook,
})

export const getDelivery = endpoint({
  ...reading,
  name: 'getDelivery',
  summary: 'One delivery, with what was sent and what came back',
  path: `${one}/deliveries/:deliveryId`,
  params: object({ teamId: Id, webhookId: Id, deliveryId: Id }),
  reply: DeliveryWithAttempts,
  errors: [...unknownWebhook, 'delivery_not_found'],
})

export const listWebhookEvents = endpoint({
  name: 'listWebhookEvents',
  summary: 'Everything that a webhook can tell: types, versions, the JSON Schema of their data, an example of each',
  method: 'GET',
  path: '/api/v1/webhook-events',
  access: 'public',
  limit: 'read',
  status: 200,
  cacheSeconds: 300,
  reply: object({
    items: Type.Array(
      object({
        type: Type.String(),
        version: Type.Integer(),
        description: Type.String(),
        schema: Type.Record(Type.String(), Type.Unknown()),
        example: Type.Record(Type.String(), Type.Unknown()),
      }),
    ),
  }),
  errors: [],
})

export const getWebhookKeys = endpoint({
  name: 'getWebhookKeys',
  summary: 'The public keys that a webhook signs with, the newest first',
  method: 'GET',
  path: '/.well-known/hivesync-webhook-keys/:webhookId',
  access: 'public',
  limit: 'read',
  params: object({ webhookId: Id }),
  status: 200,
  cacheSeconds: 60,
  reply: object({ keys: Type.Array(WebhookKey) }),
  errors: ['webhook_not_found'],
})
