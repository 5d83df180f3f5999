import * as bulk from '@hivesync/contracts/bulk.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as queues from '@hivesync/contracts/queues.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { cancelJobs, retryJobs } from './bulk.ts'
import { cancelJob, retryJob } from './cancel.ts'
import { readLog } from './logs.ts'
import { listQueues, pauseQueues, resumeQueues, updateQueue } from './queues.ts'
import { getJob, listAttempts, listJobs } from './read.ts'
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
  serve(app, bulk.retryJobs, ({ actor, params, body }) => retryJobs(ctx, actor, params.projectId, body))
  serve(app, bulk.cancelJobs, ({ actor, params, body }) => cancelJobs(ctx, actor, params.projectId, body))
  serve(app, queues.listQueues, ({ actor, query }) => listQueues(ctx, actor, query))
  serve(app, queues.updateQueue, ({ actor, params, body }) => updateQueue(ctx, actor, params, body))
  serve(app, queues.pauseQueues, ({ actor, params, body }) => pauseQueues(ctx, actor, params.name, body.reason))
  serve(app, queues.resumeQueues, ({ actor, params }) => resumeQueues(ctx, actor, params.name))
  serveRaw(app, contract.watchJob, ({ actor, params, query }, request, reply) =>
    watchJob(ctx, actor, params.jobId, query.after, request, reply),
  )
}
