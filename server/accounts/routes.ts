import * as contract from '@hivesync/contracts/accounts.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { getMe, setUp } from './accounts.ts'
import { updateMe } from './profile.ts'
import { setupPageRoutes } from './setup-page.ts'

export function accountRoutes(app: FastifyInstance, ctx: Context): void {
  setupPageRoutes(app, ctx)
  serve(app, contract.setUp, ({ actor, body }) => setUp(ctx, actor, body))
  serve(app, contract.getMe, ({ actor }) => getMe(ctx, actor))
  serve(app, contract.updateMe, ({ actor, body }) => updateMe(ctx, actor, body))
}
