import * as contract from '@hivesync/contracts/bundles.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { serveUpload } from '../platform/http/upload.ts'
import { createBundle, deleteBundle, listBundles } from './bundles.ts'

export function bundleRoutes(app: FastifyInstance, ctx: Context): void {
  serveUpload(app, contract.createBundle, ({ actor, params, upload }) =>
    createBundle(ctx, actor, params.projectId, upload),
  )
  serve(app, contract.listBundles, ({ actor, params, query }) => listBundles(ctx, actor, params.projectId, query))
  serve(app, contract.deleteBundle, async ({ actor, params }) => {
    await deleteBundle(ctx, actor, params.bundleId)
    return undefined
  })
}
