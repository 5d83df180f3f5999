import type { Team } from '@hivesync/contracts/teams.ts'
import { enqueueEvent } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import {
  countOwnedTeams,
  deleteTeamRow,
  findMember,
  hasProjects,
  insertMember,
  insertTeam,
  listTeamRows,
  setMemberRole,
  setTeamName,
} from './queries.ts'
import { auditTeam, lockPerson, lockSharedTeam, requireTeam, toTeam } from './require-team.ts'

export { pruneInvitations, redeemInvitation, requireInvitation } from './invitations.ts'
export { lockTeam } from './queries.ts'
export { requireTeam } from './require-team.ts'

const maxOwnedTeams = 50

/** Creates a team that its maker owns. */
export async function createTeam(ctx: Context, actor: Actor, body: { name: string }): Promise<Team> {
  if (actor.projectId !== null) throw new AppError('permission_denied')
  const now = ctx.clock.now()
  const row = { id: ctx.random.id(), name: body.name.normalize('NFC'), personalUserId: null, createdAt: now }
  await ctx.db.transaction(async (tx) => {
    const userId = await lockPerson(tx, actor)
    if ((await countOwnedTeams(tx, userId)) >= maxOwnedTeams) throw new AppError('too_many_teams')
    await insertTeam(tx, row)
    await insertMember(tx, { teamId: row.id, userId, role: 'owner', createdAt: now })
    await auditTeam(ctx, tx, actor, row.id, 'team.created')
  })
  return toTeam({ ...row, tier: 'free', role: 'owner' })
}

export async function listTeams(
  ctx: Context,
  actor: Actor,
  query: { limit?: string; cursor?: string },
): Promise<Page<Team>> {
  const request = pageRequest(query)
  const { userId, projectId } = actor
  const rows = userId === null || projectId !== null ? [] : await listTeamRows(ctx.db.kysely, userId, request)
  return toPage(rows, request, (row) => row.id, toTeam)
}

export async function getTeam(ctx: Context, actor: Actor, teamId: string): Promise<Team> {
  return toTeam(await requireTeam(ctx.db.kysely, actor, teamId, 'read'))
}

export async function renameTeam(ctx: Context, actor: Actor, teamId: string, name: string): Promise<Team> {
  return ctx.db.transaction(async (tx) => {
    const team = await requireTeam(tx, actor, teamId, 'rename')
    await setTeamName(tx, teamId, name.normalize('NFC'))
    await auditTeam(ctx, tx, actor, teamId, 'team.renamed')
    return toTeam({ ...team, name: name.normalize('NFC') })
  })
}

/** Deletes a team that has no projects. */
export async function deleteTeam(ctx: Context, actor: Actor, teamId: string): Promise<void> {
  await revoking(ctx, actor, async (tx, revoke) => {
    await lockSharedTeam(tx, actor, teamId, 'delete')
    if (await hasProjects(tx, teamId)) throw new AppError('team_not_empty', { teamId })
    await auditTeam(ctx, tx, actor, teamId, 'team.deleted')
    await deleteTeamRow(tx, teamId)
    await revoke({ teams: [teamId] })
  })
}

/** Hands a team over to a member who can sign in; who did becomes an admin. There is an owner at every moment. */
export async function transferTeam(ctx: Context, actor: Actor, teamId: string, userId: string): Promise<Team> {
  return revoking(ctx, actor, async (tx, revoke) => {
    const team = await lockSharedTeam(tx, actor, teamId, 'transfer')
    const heir = await findMember(tx, teamId, userId)
    if (heir === undefined || heir.deactivatedAt !== null || userId === actor.userId)
      throw new AppError('member_not_found', { teamId })
    await setMemberRole(tx, teamId, userId, 'owner')
    await setMemberRole(tx, teamId, actor.userId ?? '', 'admin')
    await auditTeam(ctx, tx, actor, teamId, 'team.transferred', { kind: 'user', id: userId })
    for (const [member, role] of [
      [userId, 'owner'],
      [actor.userId, 'admin'],
    ])
      await enqueueEvent(ctx, tx, {
        topic: 'member.changed',
        teamId,
        payload: { userId: member, projectId: null, role },
      })
    await revoke({ teams: [teamId] })
    return toTeam({ ...team, role: 'admin' })
  })
}
