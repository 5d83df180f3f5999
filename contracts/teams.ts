import { type Static, Type } from 'typebox'
import { teamRoles } from './access.ts'
import { Email } from './accounts.ts'
import { endpoint } from './endpoint.ts'
import { OneTimeToken } from './mfa.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const TeamRole = Type.Enum([...teamRoles])
export const Team = object({
  id: Id,
  name: Type.String(),
  tier: Type.String(),
  isPersonal: Type.Boolean({ description: 'The team that everybody has alone: nobody joins, leaves or deletes it' }),
  role: TeamRole,
  createdAt: Time,
})
export type Team = Static<typeof Team>
export const TeamMember = object({ userId: Id, username: Type.String(), role: TeamRole, createdAt: Time })
export type TeamMember = Static<typeof TeamMember>
export const Invitation = object({
  id: Id,
  teamId: nullable(Id),
  email: Type.String(),
  role: nullable(TeamRole),
  createdAt: Time,
  expiresAt: Time,
})
export type Invitation = Static<typeof Invitation>

const teamParams = object({ teamId: Id })
const memberParams = object({ teamId: Id, userId: Id })
const team = { access: 'teams:write', limit: 'write', params: teamParams } as const

export const createTeam = endpoint({
  name: 'createTeam',
  summary: 'Create a team and own it',
  method: 'POST',
  path: '/api/v1/teams',
  access: 'teams:write',
  limit: 'write',
  body: object({ name: Name }),
  status: 201,
  reply: Team,
  errors: ['permission_denied', 'too_many_teams'],
})

export const listTeams = endpoint({
  name: 'listTeams',
  summary: 'The teams one belongs to, newest first',
  method: 'GET',
  path: '/api/v1/teams',
  access: 'teams:read',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Team),
  errors: [],
})

export const getTeam = endpoint({
  name: 'getTeam',
  summary: 'One team',
  method: 'GET',
  path: '/api/v1/teams/:teamId',
  access: 'teams:read',
  limit: 'read',
  params: teamParams,
  status: 200,
  reply: Team,
  errors: ['team_not_found'],
})

export const updateTeam = endpoint({
  ...team,
  name: 'updateTeam',
  summary: 'Rename a team; its admins and owners',
  method: 'PATCH',
  path: '/api/v1/teams/:teamId',
  body: object({ name: Name }),
  status: 200,
  reply: Team,
  errors: ['team_not_found', 'permission_denied'],
})

export const deleteTeam = endpoint({
  ...team,
  name: 'deleteTeam',
  summary: 'Delete a team without projects; its owners',
  method: 'DELETE',
  path: '/api/v1/teams/:teamId',
  stepUp: true,
  status: 204,
  reply: null,
  errors: ['team_not_found', 'permission_denied', 'personal_team', 'team_not_empty'],
})

export const transferTeam = endpoint({
  ...team,
  name: 'transferTeam',
  summary: 'Hand a team over: the member owns it, and one becomes an admin of it oneself',
  method: 'POST',
  path: '/api/v1/teams/:teamId/transfer',
  stepUp: true,
  body: object({ userId: Id }),
  status: 200,
  reply: Team,
  errors: ['team_not_found', 'permission_denied', 'personal_team', 'member_not_found'],
})

export const listTeamMembers = endpoint({
  name: 'listTeamMembers',
  summary: 'The members of a team',
  method: 'GET',
  path: '/api/v1/teams/:teamId/members',
  access: 'teams:read',
  limit: 'read',
  params: teamParams,
  query: object(PageQuery),
  status: 200,
  reply: page(TeamMember),
  errors: ['team_not_found'],
})

export const changeTeamMember = endpoint({
  name: 'changeTeamMember',
  summary: "Change a member's role; nobody gives or takes a role above their own, and the last owner stays",
  method: 'PATCH',
  path: '/api/v1/teams/:teamId/members/:userId',
  access: 'teams:write',
  limit: 'write',
  params: memberParams,
  body: object({ role: TeamRole }),
  status: 200,
  reply: TeamMember,
  errors: ['team_not_found', 'permission_denied', 'personal_team', 'member_not_found', 'last_owner'],
})

export const removeTeamMember = endpoint({
  name: 'removeTeamMember',
  summary: 'Take a member out of a team and of its projects, or leave it',
  method: 'DELETE',
  path: '/api/v1/teams/:teamId/members/:userId',
  access: 'teams:write',
  limit: 'write',
  params: memberParams,
  status: 204,
  reply: null,
  errors: ['team_not_found', 'permission_denied', 'personal_team', 'member_not_found', 'last_owner'],
})

export const createInvitation = endpoint({
  ...team,
  name: 'createInvitation',
  summary: 'Invite somebody by mail; nobody invites to a role above their own',
  method: 'POST',
  path: '/api/v1/teams/:teamId/invitations',
  body: object({ email: Email, role: TeamRole }),
  status: 201,
  reply: Invitation,
  errors: ['team_not_found', 'permission_denied', 'personal_team', 'too_many_invitations'],
})

export const listInvitations = endpoint({
  name: 'listInvitations',
  summary: 'The open invitations to a team; its admins and owners',
  method: 'GET',
  path: '/api/v1/teams/:teamId/invitations',
  access: 'teams:read',
  limit: 'read',
  params: teamParams,
  query: object(PageQuery),
  status: 200,
  reply: page(Invitation),
  errors: ['team_not_found', 'permission_denied'],
})

export const revokeInvitation = endpoint({
  name: 'revokeInvitation',
  summary: 'Take an invitation back',
  method: 'DELETE',
  path: '/api/v1/teams/:teamId/invitations/:invitationId',
  access: 'teams:write',
  limit: 'write',
  params: object({ teamId: Id, invitationId: Id }),
  status: 204,
  reply: null,
  errors: ['team_not_found', 'permission_denied', 'invitation_not_found'],
})

export const inviteToServer = endpoint({
  name: 'inviteToServer',
  summary: 'Invite somebody to make an account here, in no team but their own; admins only',
  method: 'POST',
  path: '/api/v1/admin/invitations',
  access: 'admin',
  limit: 'admin',
  body: object({ email: Email }),
  status: 201,
  reply: Invitation,
  errors: ['too_many_invitations'],
})

export const acceptInvitation = endpoint({
  name: 'acceptInvitation',
  summary: 'Join the team one was invited to; the account must have proved the address the invitation went to',
  method: 'POST',
  path: '/api/v1/invitations/accept',
  access: 'session',
  limit: 'auth',
  body: object({ invitation: OneTimeToken }),
  status: 200,
  reply: Team,
  errors: ['invalid_invitation', 'email_unverified', 'member_exists'],
})
