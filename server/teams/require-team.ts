import { isTeamRoleEnough, type TeamAction, teamRoleFor } from '@hivesync/contracts/access.ts'
import type { Team } from '@hivesync/contracts/teams.ts'
import { lockAccount } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { findTeam, lockTeam, type TeamRow } from './queries.ts'

/** The team, if the actor may do this to it: `team_not_found` for everybody outside it, `permission_denied` when the role is too small. */
export async function requireTeam(db: Db, actor: Actor, teamId: string, action: TeamAction): Promise<TeamRow> {
  // A key bound to one project reaches no team, and nobody's key none.
  const row = actor.userId === null || actor.projectId !== null ? undefined : await findTeam(db, actor.userId, teamId)
  if (row === undefined) throw new AppError('team_not_found', { teamId })
  if (!isTeamRoleEnough(row.role, teamRoleFor[action])) throw new AppError('permission_denied', { teamId, action })
  return row
}

/**
 * Holds the actor's own account until the transaction ends and answers its id: two acts at once are counted one after the other, and one that was
 * under way when the account went comes to nothing. Before any team is locked, as everybody does: else each could wait for the other.
 */
export async function lockPerson(tx: Db, actor: Actor): Promise<string> {
  if (actor.userId === null) throw new AppError('permission_denied')
  const account = await lockAccount(tx, actor.userId)
  if (account === undefined) throw new AppError('session_revoked')
  return account.id
}

/** As `requireTeam`, with the team locked, for what more than one member can do to it; a personal team refuses. */
export async function lockSharedTeam(tx: Db, actor: Actor, teamId: string, action: TeamAction): Promise<TeamRow> {
  await lockTeam(tx, teamId)
  const team = await requireTeam(tx, actor, teamId, action)
  if (team.personalUserId !== null) throw new AppError('personal_team', { teamId })
  return team
}

export function auditTeam(
  ctx: Context,
  tx: Db,
  actor: Actor,
  teamId: string,
  action: string,
  target: { kind: string; id: string } = { kind: 'team', id: teamId },
  details: Record<string, string | null> = {},
): Promise<void> {
  return recordAudit(ctx, tx, actor, { action, target, teamId, details })
}

export function toTeam(row: Omit<TeamRow, 'personalUserId'> & { personalUserId: string | null }): Team {
  return {
    id: row.id,
    name: row.name,
    tier: row.tier,
    isPersonal: row.personalUserId !== null,
    role: row.role,
    createdAt: isoTime(row.createdAt),
  }
}
