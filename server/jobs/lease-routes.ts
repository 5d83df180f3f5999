import * as artifacts from '@hivesync/contracts/artifacts.ts'
import { fetchBundle } from '@hivesync/contracts/bundles.ts'
import * as contract from '@hivesync/contracts/worker-protocol.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { serveUpload } from '../platform/http/upload.ts'
import { createBeats } from './beats.ts'
import { completeLease, completeLeases } from './complete.ts'
import { declareArtifacts, openBundle, uploadArtifact } from './file-transfer.ts'
import { uploadIndex } from './index-upload.ts'
import { reportProgress, startLease, startLeases } from './lease.ts'
import { appendLog } from './logs.ts'

/** What a worker says of the jobs it holds; every verb is fenced by the token in the path. */
export function leaseRoutes(app: FastifyInstance, ctx: Context): void {
  const beats = createBeats(ctx)
  serve(app, contract.startLease, async ({ actor, params }) => {
    await startLease(ctx, actor, params.token)
    return undefined
  })
  serve(app, contract.startLeases, ({ actor, body }) => startLeases(ctx, actor, body.tokens))
  serve(app, contract.reportProgress, async ({ actor, params, body }) => {
    await reportProgress(ctx, actor, params.token, body)
    return undefined
  })
  serve(app, contract.uploadIndex, async ({ actor, params, body }) => {
    await uploadIndex(ctx, actor, params.token, body)
    return undefined
  })
  serve(app, artifacts.declareArtifacts, ({ actor, params, body }) =>
    declareArtifacts(ctx, actor, params.token, body.artifacts),
  )
  serveUpload(app, artifacts.uploadArtifact, async ({ actor, params, upload }) => {
    await uploadArtifact(ctx, actor, params.token, params.artifactId, upload.content)
    return undefined
  })
  serveRaw(app, fetchBundle, async ({ actor, params }, _request, reply) => {
    const { bytes, content } = await openBundle(ctx, actor, params.token)
    return reply.header('content-type', 'application/octet-stream').header('content-length', bytes).send(content)
  })
  serve(app, contract.appendLog, ({ actor, params, body }) => appendLog(ctx, actor, params.token, body.chunks))
  serve(app, contract.completeLease, ({ actor, params, body }) => completeLease(ctx, actor, params.token, body))
  serve(app, contract.completeLeases, ({ actor, body }) => completeLeases(ctx, actor, body.completions))
  serve(app, contract.heartbeat, (input) =>
    beats.beat(input.actor, input.body.leases, input.body.waitSeconds ?? 0, () => input.signal),
  )
}
