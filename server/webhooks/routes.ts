import { webhookEvents } from '@hivesync/contracts/webhook-events.ts'
import * as contract from '@hivesync/contracts/webhooks.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { getDelivery, listDeliveries } from './deliveries.ts'
import { replayWebhook, testWebhook } from './replay.ts'
import { getWebhookKeys, rotateWebhookSecret } from './rotate.ts'
import { createWebhook, deleteWebhook, getWebhook, listWebhooks, updateWebhook } from './webhooks.ts'

const catalog = Object.entries(webhookEvents).map(([type, { version, description, data, example }]) => {
  // A JSON Schema as it is: typebox's own marks are no part of it.
  const schema: Record<string, unknown> = JSON.parse(JSON.stringify(data))
  return { type, version, description, schema, example: { ...example } }
})

export function webhookRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.createWebhook, ({ actor, params, body }) => createWebhook(ctx, actor, params.teamId, body))
  serve(app, contract.listWebhooks, ({ actor, params, query }) => listWebhooks(ctx, actor, params.teamId, query))
  serve(app, contract.getWebhook, ({ actor, params }) => getWebhook(ctx, actor, params))
  serve(app, contract.updateWebhook, ({ actor, params, body }) => updateWebhook(ctx, actor, params, body))
  serve(app, contract.deleteWebhook, async ({ actor, params }) => {
    await deleteWebhook(ctx, actor, params)
    return undefined
  })
  serve(app, contract.rotateWebhookSecret, ({ actor, params, body }) => rotateWebhookSecret(ctx, actor, params, body))
  serve(app, contract.testWebhook, ({ actor, params }) => testWebhook(ctx, actor, params))
  serve(app, contract.replayWebhook, ({ actor, params, body }) => replayWebhook(ctx, actor, params, body))
  serve(app, contract.listDeliveries, ({ actor, params, query }) => listDeliveries(ctx, actor, params, query))
  serve(app, contract.getDelivery, ({ actor, params }) => getDelivery(ctx, actor, params))
  serve(app, contract.listWebhookEvents, async () => ({ items: catalog }))
  serve(app, contract.getWebhookKeys, ({ params }) => getWebhookKeys(ctx, params.webhookId))
}
