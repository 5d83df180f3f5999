import * as contract from '@hivesync/contracts/jobs.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { cancelJob, retryJob } from './cancel.ts'
import { readLog } from './logs.ts'
import { getJob, listAttempts, listJobs, listQueues } from './read.ts'
import { submitJob } from './submit.ts'
import { watchJob } from './watch.ts'

export function jobRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.submitJob, ({ actor, params, body, idempotencyKey }) =>
    submitJob(ctx, actor, params.projectId, body, idempotencyKey),
  )
  serve(app, contract.listJobs, ({ actor, params, query }) => listJobs(ctx, actor, params.projectId, query))
  serve(app, contract.getJob, ({ actor, params }) => getJob(ctx, actor, params.jobId))
  serve(app, contract.cancelJob, ({ actor, params }) => cancelJob(ctx, actor, params.jobId))
  serve(app, contract.retryJob, ({ actor, params }) => retryJob(ctx, actor, params.jobId))
  serve(app, contract.listAttempts, ({ actor, params, query }) => listAttempts(ctx, actor, params.jobId, query))
  serve(app, contract.readLog, ({ actor, params, query }) => readLog(ctx, actor, params.jobId, query))
  serve(app, contract.listQueues, ({ actor, query }) => listQueues(ctx, actor, query))
  serveRaw(app, contract.watchJob, ({ actor, params }, request, reply) =>
    watchJob(ctx, actor, params.jobId, request, reply),
  )
}
