import * as contract from '@hivesync/contracts/compat.ts'
import * as fog from '@hivesync/contracts/fog-scheduler.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { isUpgrade } from '../platform/http/websocket.ts'
import { cancelFogJob, submitFogJob } from './fog-scheduler.ts'
import { legacyIngest, legacyWorkerStatus } from './ingest.ts'
import { watchWorkerStatus } from './watch-status.ts'

export function compatRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, fog.submitFogJob, ({ actor, body, idempotencyKey }) => submitFogJob(ctx, actor, body, idempotencyKey))
  serve(app, fog.cancelFogJob, ({ actor, params }) => cancelFogJob(ctx, actor, params.jobId))
  serve(app, contract.legacyIngest, ({ actor, body }) => legacyIngest(ctx, actor, body))
  serveRaw(app, contract.legacyWorkerStatus, async ({ actor }, request, reply) =>
    isUpgrade(request)
      ? watchWorkerStatus(ctx, actor, request, reply)
      : reply.send(await legacyWorkerStatus(ctx, actor)),
  )
}
