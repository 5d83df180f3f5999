import * as contract from '@hivesync/contracts/sessions.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { getKeySet, listSessions, logIn, logOut, refresh, revokeOtherSessions, revokeSession } from './sessions.ts'

export function sessionRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.logIn, ({ actor, body, userAgent }) => logIn(ctx, actor, body, userAgent))
  serve(app, contract.refresh, ({ actor, body }) => refresh(ctx, actor, body))
  serve(app, contract.logOut, async ({ actor }) => {
    await logOut(ctx, actor)
    return undefined
  })
  serve(app, contract.listSessions, ({ actor, query }) => listSessions(ctx, actor, query))
  serve(app, contract.revokeSession, async ({ actor, params }) => {
    await revokeSession(ctx, actor, params.sessionId)
    return undefined
  })
  serve(app, contract.revokeOtherSessions, async ({ actor }) => {
    await revokeOtherSessions(ctx, actor)
    return undefined
  })
  serve(app, contract.getKeySet, () => getKeySet(ctx))
}
