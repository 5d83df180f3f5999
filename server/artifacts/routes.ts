import * as contract from '@hivesync/contracts/artifacts.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { createArtifactUrl, listArtifacts } from './artifacts.ts'
import { sendContent } from './content.ts'

export function artifactRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.listArtifacts, ({ actor, params, query }) => listArtifacts(ctx, actor, params.jobId, query))
  serve(app, contract.createArtifactUrl, ({ actor, params, query }) =>
    createArtifactUrl(ctx, actor, params.artifactId, query.method ?? 'GET'),
  )
  serveRaw(app, contract.getArtifactContent, ({ params, query }, request, reply) =>
    sendContent(ctx, 'GET', params.artifactId, query, request, reply),
  )
  serveRaw(app, contract.headArtifactContent, ({ params, query }, request, reply) =>
    sendContent(ctx, 'HEAD', params.artifactId, query, request, reply),
  )
}
