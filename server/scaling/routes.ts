import { defaultPool } from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/scaling.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { readLoad } from './scaling.ts'

export function scalingRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.getQueueLoad, ({ query }) => readLoad(ctx, query.pool ?? defaultPool))
}
