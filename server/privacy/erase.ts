import { requireAnotherAdmin } from '../admin/admin.ts'
import { eraseAuditSubject, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { mailText, sendMail } from '../platform/mail/mail.ts'
import { revoking } from '../platform/revocation.ts'
import { dropIndex } from '../search/search.ts'
import { discardObjects, listTeamObjects } from '../storage/storage.ts'
import { lockTeam } from '../teams/teams.ts'
import { blankUser, deleteTeamWithAll, holdWork, listIndexes, listOwnedTeams, lockNames } from './queries.ts'

/**
 * Erases an account (requirement K5): everything that names the person or opens the account, the personal team and teams that nobody else
 * is in, with their projects and jobs, in one transaction. Running work ends with it: its leases are gone, and its worker is told so at
 * its next heartbeat. Search indexes and stored contents go at once after it. The audit keeps ids, which name nobody any more; what it holds sealed of the person nobody can open. A team with other members must have another owner first.
 * What a worker has cached of a repository goes with that worker's own retention.
 */
export async function eraseAccount(ctx: Context, actor: Actor, userId: string): Promise<void> {
  const { indexes, objects } = await revoking(ctx, actor, async (tx, revoke) => {
    await requireAnotherAdmin(tx, userId)
    const person = await lockNames(tx, userId)
    if (person === undefined) throw new AppError('user_not_found', { userId })
    const doomed = await teamsToErase(tx, userId)
    const indexes = []
    const objects = []
    for (const teamId of doomed) {
      await holdWork(tx, teamId)
      indexes.push(...(await listIndexes(tx, teamId)))
      objects.push(...(await listTeamObjects(tx, teamId)))
      await deleteTeamWithAll(tx, teamId)
    }
    await blankUser(tx, userId, person.emailKey, ctx.clock.now())
    // After the rows say so: what the person has running in other people's projects loses its rights now.
    await revoke({ users: [userId], teams: doomed })
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'user.erased', target, details: { teams: doomed.length } })
    await sendMail(ctx, tx, {
      to: person.email,
      kind: 'account_erased',
      subject: 'Your account was erased',
      text: mailText(ctx, [
        'Your account on this server, its personal team and everything in it were erased. This is the last mail from it.',
        actor.userId === userId ? 'You asked for it yourself.' : 'An administrator of the server did it.',
      ]),
    })
    await eraseAuditSubject(tx, userId)
    return { indexes, objects }
  })
  for (const { projectId, token } of indexes) await drop(ctx, projectId, token)
  await discardObjects(ctx, objects)
}

// The account is erased whatever becomes of this: what fails here, or is not reached, the sweep of indexes finds.
async function drop(ctx: Context, projectId: string, token: number): Promise<void> {
  try {
    await dropIndex(ctx, projectId, token)
  } catch (error) {
    ctx.log.error({ event: 'index_not_dropped', projectId, token }, error)
  }
}

async function teamsToErase(tx: Db, userId: string): Promise<string[]> {
  const owned = await listOwnedTeams(tx, userId)
  for (const { id } of owned) await lockTeam(tx, id)
  // Counted again: somebody may have joined or stepped down until the locks were held.
  const teams = await listOwnedTeams(tx, userId)
  const orphan = teams.find((team) => team.members > 0 && team.owners === 0)
  if (orphan !== undefined) {
    const detail = 'Hand over the teams that others are in first, or take the others out'
    throw new AppError('last_owner', { teamId: orphan.id }, { detail })
  }
  return teams.filter((team) => team.members === 0).map((team) => team.id)
}
