import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as contract from '@hivesync/contracts/workers.ts'
import type { FastifyInstance } from 'fastify'
import type { Dispatcher } from '../jobs/jobs.ts'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { enrolWorker } from './enrol.ts'
import { createEnrolment, listEnrolments, revokeEnrolment } from './enrolments.ts'
import { revokeWorker, signOff } from './revoke.ts'
import { requestKeyRotation, rotateKey } from './rotate.ts'
import { claimJobs, drainWorker, listWorkers } from './workers.ts'

export function workerRoutes(app: FastifyInstance, ctx: Context, dispatcher: Dispatcher): void {
  serve(app, contract.createEnrolment, ({ actor, body }) => createEnrolment(ctx, actor, body))
  serve(app, contract.listEnrolments, ({ query }) => listEnrolments(ctx, query))
  serve(app, contract.revokeEnrolment, ({ actor, params, body }) =>
    revokeEnrolment(ctx, actor, params.enrolmentId, body),
  )
  serve(app, contract.listWorkers, ({ actor, query }) => listWorkers(ctx, actor, query))
  serve(app, contract.drainWorker, ({ actor, params }) => drainWorker(ctx, actor, params.workerId))
  serve(app, contract.revokeWorker, async ({ actor, params }) => {
    await revokeWorker(ctx, actor, params.workerId)
    return undefined
  })
  serve(app, contract.requestKeyRotation, ({ actor, params }) => requestKeyRotation(ctx, actor, params.workerId))
  serve(app, protocol.rotateKey, ({ actor, body }) => rotateKey(ctx, actor, body))
  serve(app, protocol.enrolWorker, ({ actor, body }) => enrolWorker(ctx, actor, body))
  serve(app, contract.signOff, async ({ actor }) => {
    await signOff(ctx, actor)
    return undefined
  })
  serve(app, protocol.claimJobs, ({ actor, body, signal }) => claimJobs(ctx, dispatcher, actor, body, signal))
}
