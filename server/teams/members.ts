import { isTeamRoleEnough, type TeamRole } from '@hivesync/contracts/access.ts'
import type { TeamMember } from '@hivesync/contracts/teams.ts'
import { enqueueEvent } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import {
  deleteMember,
  findMember,
  listMemberRows,
  listOwnerIds,
  type MemberRow,
  setInvitationsRevoked,
  setMemberRole,
} from './queries.ts'
import { auditTeam, lockSharedTeam, requireTeam } from './require-team.ts'

export async function listTeamMembers(
  ctx: Context,
  actor: Actor,
  teamId: string,
  query: { limit?: string; cursor?: string },
): Promise<Page<TeamMember>> {
  const request = pageRequest(query)
  await requireTeam(ctx.db.kysely, actor, teamId, 'read')
  return toPage(await listMemberRows(ctx.db.kysely, teamId, request), request, (row) => row.userId, toMember)
}

/** Changes a member's role. Nobody gives or takes a role above their own, and the last owner stays one: counted under the team's lock. */
export async function changeTeamMember(
  ctx: Context,
  actor: Actor,
  teamId: string,
  userId: string,
  role: TeamRole,
): Promise<TeamMember> {
  return revoking(ctx, actor, async (tx, revoke) => {
    const team = await lockSharedTeam(tx, actor, teamId, 'manageMembers')
    const member = await requireMember(tx, teamId, userId)
    requireReach(team.role, member.role, role)
    if (role !== 'owner') await requireAnotherOwner(tx, teamId, userId)
    await setMemberRole(tx, teamId, userId, role)
    await auditTeam(ctx, tx, actor, teamId, 'team.member_changed', { kind: 'user', id: userId }, { role })
    await enqueueEvent(ctx, tx, { topic: 'member.changed', teamId, payload: { userId, projectId: null, role } })
    await revoke({ users: [userId], teams: [teamId] })
    return toMember({ ...member, role })
  })
}

/** Takes a member out of a team and its projects, or leaves it; open invitations of the team to them are worthless from now on. */
export async function removeTeamMember(ctx: Context, actor: Actor, teamId: string, userId: string): Promise<void> {
  await revoking(ctx, actor, async (tx, revoke) => {
    const isLeaving = userId === actor.userId
    const team = await lockSharedTeam(tx, actor, teamId, isLeaving ? 'read' : 'manageMembers')
    const member = await requireMember(tx, teamId, userId)
    if (!isLeaving) requireReach(team.role, member.role)
    await requireAnotherOwner(tx, teamId, userId)
    await deleteMember(tx, teamId, userId)
    // One that was never used, because it came twice, would bring them back.
    await setInvitationsRevoked(tx, teamId, { emailKey: member.emailKey }, ctx.clock.now())
    await auditTeam(ctx, tx, actor, teamId, 'team.member_removed', { kind: 'user', id: userId })
    await enqueueEvent(ctx, tx, { topic: 'member.removed', teamId, payload: { userId, projectId: null, role: null } })
    await revoke({ users: [userId], teams: [teamId] })
  })
}

/** Refuses to touch a role above one's own. */
export function requireReach(own: TeamRole, ...roles: TeamRole[]): void {
  if (!roles.every((role) => isTeamRoleEnough(own, role)))
    throw new AppError('permission_denied', {}, { detail: 'Only an owner can do this to an owner' })
}

async function requireMember(tx: Db, teamId: string, userId: string): Promise<MemberRow> {
  const member = await findMember(tx, teamId, userId)
  if (member === undefined) throw new AppError('member_not_found', { teamId })
  return member
}

async function requireAnotherOwner(tx: Db, teamId: string, userId: string): Promise<void> {
  const owners = await listOwnerIds(tx, teamId)
  if (owners.length === 1 && owners[0] === userId) throw new AppError('last_owner', { teamId })
}

function toMember(row: MemberRow): TeamMember {
  return { userId: row.userId, username: row.username, role: row.role, createdAt: isoTime(row.createdAt) }
}
