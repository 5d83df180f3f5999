import type { TeamRole } from '@hivesync/contracts/access.ts'
import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'

export type TeamRow = NonNullable<Awaited<ReturnType<typeof findTeam>>>

/** The teams a person belongs to, each with the role there: the tenant of every query below. */
const teamsOf = (db: Db, userId: string) =>
  db
    .selectFrom('teams')
    .innerJoin('teamMembers', 'teamMembers.teamId', 'teams.id')
    .select(['teams.id', 'teams.name', 'teams.tier', 'teams.personalUserId', 'teams.createdAt', 'teamMembers.role'])
    .where('teamMembers.userId', '=', userId)

export function findTeam(db: Db, userId: string, teamId: string) {
  return teamsOf(db, userId).where('teams.id', '=', teamId).executeTakeFirst()
}

export function listTeamRows(db: Db, userId: string, request: PageRequest) {
  const rows = teamsOf(db, userId)
    .orderBy('teams.id', 'desc')
    .limit(request.limit + 1)
  return (request.after === undefined ? rows : rows.where('teams.id', '<', request.after)).execute()
}

/** Locks a team until the transaction ends: who counts its owners or projects counts them once (reference T17). */
export async function lockTeam(tx: Db, teamId: string): Promise<void> {
  await forUpdate(tx, tx.selectFrom('teams').select('id').where('id', '=', teamId)).executeTakeFirst()
}

export async function countOwnedTeams(tx: Db, userId: string): Promise<number> {
  const row = await tx
    .selectFrom('teamMembers')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('userId', '=', userId)
    .where('role', '=', 'owner')
    .executeTakeFirstOrThrow()
  return row.count
}

export async function insertTeam(tx: Db, row: Insertable<Schema['teams']>): Promise<void> {
  await tx.insertInto('teams').values(row).execute()
}

export async function setTeamName(tx: Db, teamId: string, name: string): Promise<void> {
  await tx.updateTable('teams').set({ name }).where('id', '=', teamId).execute()
}

export async function hasProjects(tx: Db, teamId: string): Promise<boolean> {
  return (await tx.selectFrom('projects').select('id').where('teamId', '=', teamId).executeTakeFirst()) !== undefined
}

export async function deleteTeamRow(tx: Db, teamId: string): Promise<void> {
  await tx.deleteFrom('teams').where('id', '=', teamId).execute()
}

const members = (db: Db, teamId: string) =>
  db
    .selectFrom('teamMembers')
    .innerJoin('users', 'users.id', 'teamMembers.userId')
    .select(['teamMembers.userId', 'users.username', 'teamMembers.role', 'teamMembers.createdAt'])
    .select(['users.emailKey', 'users.deactivatedAt'])
    .where('teamMembers.teamId', '=', teamId)

export type MemberRow = NonNullable<Awaited<ReturnType<typeof findMember>>>

export function findMember(db: Db, teamId: string, userId: string) {
  return members(db, teamId).where('teamMembers.userId', '=', userId).executeTakeFirst()
}

export function listMemberRows(db: Db, teamId: string, request: PageRequest) {
  const rows = members(db, teamId)
    .orderBy('teamMembers.userId', 'desc')
    .limit(request.limit + 1)
  return (request.after === undefined ? rows : rows.where('teamMembers.userId', '<', request.after)).execute()
}

/** The owners who can still sign in: somebody deactivated owns nothing that would keep a team alive. */
export async function listOwnerIds(tx: Db, teamId: string): Promise<string[]> {
  const rows = await members(tx, teamId)
    .where('teamMembers.role', '=', 'owner')
    .where('users.deactivatedAt', 'is', null)
    .execute()
  return rows.map((row) => row.userId)
}

export async function insertMember(tx: Db, row: Insertable<Schema['teamMembers']>): Promise<void> {
  await tx.insertInto('teamMembers').values(row).execute()
}

export async function setMemberRole(tx: Db, teamId: string, userId: string, role: TeamRole): Promise<void> {
  await tx.updateTable('teamMembers').set({ role }).where('teamId', '=', teamId).where('userId', '=', userId).execute()
}

/** Takes a person out of a team and out of every project of it. */
export async function deleteMember(tx: Db, teamId: string, userId: string): Promise<void> {
  await tx.deleteFrom('teamMembers').where('teamId', '=', teamId).where('userId', '=', userId).execute()
  await tx
    .deleteFrom('projectMembers')
    .where('userId', '=', userId)
    .where('projectId', 'in', tx.selectFrom('projects').select('id').where('teamId', '=', teamId))
    .execute()
}

const invitationColumns = ['id', 'teamId', 'email', 'emailKey', 'role', 'invitedBy', 'createdAt', 'expiresAt'] as const
export type InvitationRow = Awaited<ReturnType<typeof insertInvitation>>

export function insertInvitation(tx: Db, row: Insertable<Schema['invitations']>) {
  return tx.insertInto('invitations').values(row).returning(invitationColumns).executeTakeFirstOrThrow()
}

const open = (db: Db, now: number) =>
  db
    .selectFrom('invitations')
    .select(invitationColumns)
    .where('acceptedAt', 'is', null)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)

export function listOpenInvitations(db: Db, teamId: string, now: number, request: PageRequest) {
  const rows = open(db, now)
    .where('teamId', '=', teamId)
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  return (request.after === undefined ? rows : rows.where('id', '<', request.after)).execute()
}

/** How many invitations somebody has open, in all teams. */
export async function countOpenInvitations(tx: Db, invitedBy: string, now: number): Promise<number> {
  return (await open(tx, now).where('invitedBy', '=', invitedBy).execute()).length
}

export function findOpenInvitation(db: Db, tokenHash: string, now: number): Promise<InvitationRow | undefined> {
  return open(db, now).where('tokenHash', '=', tokenHash).executeTakeFirst()
}

/** What a person is now, as far as an invitation of theirs needs it: in the team invited to, and on the server. */
export function findInviter(db: Db, userId: string, teamId: string | null) {
  return db
    .selectFrom('users')
    .leftJoin('teamMembers', (join) =>
      join.onRef('teamMembers.userId', '=', 'users.id').on('teamMembers.teamId', '=', teamId ?? ''),
    )
    .select(['users.adminSince', 'teamMembers.role'])
    .where('users.id', '=', userId)
    .where('users.deactivatedAt', 'is', null)
    .executeTakeFirst()
}

/** Accepts an open invitation, once: of any number of calls at once exactly one is answered true. */
export async function setInvitationAccepted(tx: Db, id: string, userId: string, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('invitations')
    .set({ acceptedAt: now, acceptedBy: userId })
    .where('id', '=', id)
    .where('acceptedAt', 'is', null)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Forgets the invitations whose time is over, whatever became of them: they hold addresses, some of people who never came. */
export async function deleteExpiredInvitations(db: Db, now: number): Promise<void> {
  await db.deleteFrom('invitations').where('expiresAt', '<=', now).execute()
}

/** Takes open invitations of a team back: one by its id, or all to one address. */
export async function setInvitationsRevoked(
  tx: Db,
  teamId: string | null,
  by: { id: string } | { emailKey: string },
  now: number,
): Promise<number> {
  const all = tx
    .updateTable('invitations')
    .set({ revokedAt: now })
    .where('teamId', teamId === null ? 'is' : '=', teamId)
    .where('acceptedAt', 'is', null)
    .where('revokedAt', 'is', null)
    .returning('id')
  const some = 'id' in by ? all.where('id', '=', by.id) : all.where('emailKey', '=', by.emailKey)
  return (await some.execute()).length
}
