import * as contract from '@hivesync/contracts/api-keys.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { createApiKey, listApiKeys, revokeApiKey, rotateApiKey } from './keys.ts'

export function keyRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.createApiKey, ({ actor, body }) => createApiKey(ctx, actor, body))
  serve(app, contract.listApiKeys, ({ actor, query }) => listApiKeys(ctx, actor, query))
  serve(app, contract.rotateApiKey, ({ actor, params, body }) => rotateApiKey(ctx, actor, params.apiKeyId, body))
  serve(app, contract.revokeApiKey, async ({ actor, params }) => {
    await revokeApiKey(ctx, actor, params.apiKeyId)
    return undefined
  })
}
