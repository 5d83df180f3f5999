import * as contract from '@hivesync/contracts/service.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { openApiDocument } from '../platform/http/openapi.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { requireReady } from './operations.ts'

export function operationRoutes(app: FastifyInstance, ctx: Context): void {
  const document = JSON.stringify(openApiDocument(ctx.config.publicUrl))
  serve(app, contract.getHealth, async () => ({ status: 'ok' as const }))
  serve(app, contract.getReadiness, () => requireReady(ctx))
  serve(app, contract.getLanding, async () => ({
    name: 'HiveSync',
    description: 'Queue jobs and run them in a sandbox on machines you own.',
    auth: '/api/auth/login',
    docs: '/openapi.json',
  }))
  serveRaw(app, contract.getOpenApi, async (_input, _request, reply) => reply.type('application/json').send(document))
}
