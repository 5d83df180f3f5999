import * as contract from '@hivesync/contracts/egress.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { getEgress, setEgress } from './egress.ts'

export function egressRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.getEgress, ({ actor, params }) => getEgress(ctx, actor, params.projectId))
  serve(app, contract.setEgress, ({ actor, params, body }) => setEgress(ctx, actor, params.projectId, body.hosts))
}
