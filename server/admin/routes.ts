import * as contract from '@hivesync/contracts/admin.ts'
import * as oversight from '@hivesync/contracts/oversight.ts'
import * as plans from '@hivesync/contracts/tiers.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { listTiers } from '../tiers/tiers.ts'
import { listAllJobs, listAllTeams } from './overview.ts'
import { changeTier, setTeamTier } from './tiers.ts'
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
  serve(app, oversight.listAllTeams, ({ query }) => listAllTeams(ctx, query))
  serve(app, oversight.listAllJobs, ({ query }) => listAllJobs(ctx, query))
  serve(app, plans.listTiers, async () => ({ items: await listTiers(ctx.db.kysely) }))
  serve(app, plans.changeTier, ({ actor, params, body }) => changeTier(ctx, actor, params.tier, body))
  serve(app, plans.setTeamTier, async ({ actor, params, body }) => {
    await setTeamTier(ctx, actor, params.teamId, body.tier)
    return undefined
  })
}
