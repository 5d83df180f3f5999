import * as contract from '@hivesync/contracts/admin.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { activateUser, deactivateUser, endUserSessions, getUser, listUsers, setUserRole } from './users.ts'

export function adminRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.listUsers, ({ query }) => listUsers(ctx, query))
  serve(app, contract.getUser, ({ params }) => getUser(ctx, params.userId))
  serve(app, contract.deactivateUser, ({ actor, params }) => deactivateUser(ctx, actor, params.userId))
  serve(app, contract.activateUser, ({ actor, params }) => activateUser(ctx, actor, params.userId))
  serve(app, contract.setUserRole, ({ actor, params, body }) => setUserRole(ctx, actor, params.userId, body.isAdmin))
  serve(app, contract.endUserSessions, async ({ actor, params }) => {
    await endUserSessions(ctx, actor, params.userId)
    return undefined
  })
}
