import { getMetrics } from '@hivesync/contracts/scaling.ts'
import * as contract from '@hivesync/contracts/service.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { openApiDocument } from '../platform/http/openapi.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import type { Windows } from '../platform/limits/windows.ts'
import { createMetricsPage, metricsType } from './metrics.ts'
import { requireReady } from './operations.ts'

export function operationRoutes(app: FastifyInstance, ctx: Context, windows: Windows): void {
  const document = JSON.stringify(openApiDocument(ctx.config.publicUrl))
  const metrics = createMetricsPage(ctx, windows)
  serve(app, contract.getHealth, async () => ({ status: 'ok' as const }))
  serve(app, contract.getReadiness, () => requireReady(ctx, windows))
  serve(app, contract.getLanding, async () => ({
    name: 'HiveSync',
    description: 'Queue jobs and run them in a sandbox on machines you own.',
    auth: '/api/auth/login',
    docs: '/openapi.json',
  }))
  serveRaw(app, getMetrics, async (_input, _request, reply) => reply.type(metricsType).send(await metrics.text()))
  serveRaw(app, contract.getOpenApi, async (_input, _request, reply) => reply.type('application/json').send(document))
}
