import * as contract from '@hivesync/contracts/teams.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { acceptInvitation, createInvitation, inviteToServer, listInvitations, revokeInvitation } from './invitations.ts'
import { changeTeamMember, listTeamMembers, removeTeamMember } from './members.ts'
import { createTeam, deleteTeam, getTeam, listTeams, renameTeam, transferTeam } from './teams.ts'

export function teamRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.createTeam, ({ actor, body }) => createTeam(ctx, actor, body))
  serve(app, contract.listTeams, ({ actor, query }) => listTeams(ctx, actor, query))
  serve(app, contract.getTeam, ({ actor, params }) => getTeam(ctx, actor, params.teamId))
  serve(app, contract.updateTeam, ({ actor, params, body }) => renameTeam(ctx, actor, params.teamId, body.name))
  serve(app, contract.deleteTeam, async ({ actor, params }) => {
    await deleteTeam(ctx, actor, params.teamId)
    return undefined
  })
  serve(app, contract.transferTeam, ({ actor, params, body }) => transferTeam(ctx, actor, params.teamId, body.userId))
  serve(app, contract.listTeamMembers, ({ actor, params, query }) => listTeamMembers(ctx, actor, params.teamId, query))
  serve(app, contract.changeTeamMember, ({ actor, params, body }) =>
    changeTeamMember(ctx, actor, params.teamId, params.userId, body.role),
  )
  serve(app, contract.removeTeamMember, async ({ actor, params }) => {
    await removeTeamMember(ctx, actor, params.teamId, params.userId)
    return undefined
  })
  serve(app, contract.createInvitation, ({ actor, params, body }) => createInvitation(ctx, actor, params.teamId, body))
  serve(app, contract.listInvitations, ({ actor, params, query }) => listInvitations(ctx, actor, params.teamId, query))
  serve(app, contract.revokeInvitation, async ({ actor, params }) => {
    await revokeInvitation(ctx, actor, params.teamId, params.invitationId)
    return undefined
  })
  serve(app, contract.inviteToServer, ({ actor, body }) => inviteToServer(ctx, actor, body))
  serve(app, contract.acceptInvitation, ({ actor, body }) => acceptInvitation(ctx, actor, body))
}
