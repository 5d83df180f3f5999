import * as contract from '@hivesync/contracts/worker-protocol.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { completeLease } from './complete.ts'
import { uploadIndex } from './index-upload.ts'
import { heartbeat, reportProgress, startLease } from './lease.ts'
import { appendLog } from './logs.ts'

/** What a worker says of the jobs it holds; every verb is fenced by the token in the path. */
export function leaseRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.startLease, async ({ actor, params }) => {
    await startLease(ctx, actor, params.token)
    return undefined
  })
  serve(app, contract.reportProgress, async ({ actor, params, body }) => {
    await reportProgress(ctx, actor, params.token, body)
    return undefined
  })
  serve(app, contract.uploadIndex, async ({ actor, params, body }) => {
    await uploadIndex(ctx, actor, params.token, body)
    return undefined
  })
  serve(app, contract.appendLog, ({ actor, params, body }) => appendLog(ctx, actor, params.token, body.chunks))
  serve(app, contract.completeLease, ({ actor, params, body }) => completeLease(ctx, actor, params.token, body))
  serve(app, contract.heartbeat, ({ actor, body }) => heartbeat(ctx, actor, body.leases))
}
