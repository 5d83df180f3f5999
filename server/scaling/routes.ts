import { defaultPool } from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/scaling.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { createMetrics } from './metrics.ts'
import { readLoad } from './scaling.ts'

export function scalingRoutes(app: FastifyInstance, ctx: Context): void {
  const metrics = createMetrics(ctx)
  serve(app, contract.getQueueLoad, ({ query }) => readLoad(ctx, query.pool ?? defaultPool))
  serveRaw(app, contract.getMetrics, (_, _request, reply) => metrics.send(reply))
}
