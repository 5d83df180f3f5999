import * as contract from '@hivesync/contracts/compat.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { legacyIngest, legacyWorkerStatus } from './ingest.ts'

export function compatRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.legacyIngest, ({ actor, body }) => legacyIngest(ctx, actor, body))
  serve(app, contract.legacyWorkerStatus, ({ actor }) => legacyWorkerStatus(ctx, actor))
}
