import type { ProjectRole } from '@hivesync/contracts/access.ts'
import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'

export interface MemberRow {
  userId: string
  username: string
  role: ProjectRole
  createdAt: number
}

/** Locks the team, the personal one where none is named, until the transaction ends: nobody leaves it, and it is not deleted, meanwhile. */
export function lockTeam(tx: Db, userId: string, teamId: string | undefined) {
  const team = tx.selectFrom('teams').select('id')
  const named = teamId === undefined ? team.where('personalUserId', '=', userId) : team.where('id', '=', teamId)
  return forUpdate(tx, named).executeTakeFirst()
}

export function findTeamOfMember(db: Db, userId: string, teamId: string) {
  return db
    .selectFrom('teams')
    .innerJoin('teamMembers', 'teamMembers.teamId', 'teams.id')
    .select('teams.id')
    .where('teams.id', '=', teamId)
    .where('teamMembers.userId', '=', userId)
    .executeTakeFirst()
}

export async function insertProject(tx: Db, row: Insertable<Schema['projects']>): Promise<void> {
  await tx.insertInto('projects').values(row).execute()
}

// One column each: a rename and an archiving at the same moment must not undo each other.
export async function setProjectName(tx: Db, projectId: string, name: string): Promise<void> {
  await tx.updateTable('projects').set({ name }).where('id', '=', projectId).execute()
}

/** Archives a project, which keeps the time of its first archiving, or with null restores it. */
export async function setProjectArchived(tx: Db, projectId: string, at: number | null): Promise<void> {
  await tx
    .updateTable('projects')
    .set((eb) => ({ archivedAt: at === null ? null : eb.fn.coalesce('archivedAt', eb.val(at)) }))
    .where('id', '=', projectId)
    .execute()
}

export async function insertMember(tx: Db, row: Insertable<Schema['projectMembers']>): Promise<void> {
  await tx.insertInto('projectMembers').values(row).execute()
}

const members = (db: Db, projectId: string) =>
  db
    .selectFrom('projectMembers')
    .innerJoin('users', 'users.id', 'projectMembers.userId')
    .select(['projectMembers.userId', 'users.username', 'projectMembers.role', 'projectMembers.createdAt'])
    .where('projectMembers.projectId', '=', projectId)

export function findMember(db: Db, projectId: string, userId: string): Promise<MemberRow | undefined> {
  return members(db, projectId).where('projectMembers.userId', '=', userId).executeTakeFirst()
}

export function listMemberRows(db: Db, projectId: string, page: PageRequest): Promise<MemberRow[]> {
  const rows = members(db, projectId)
    .orderBy('projectMembers.userId', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('projectMembers.userId', '<', page.after)).execute()
}

export async function listOwnerIds(db: Db, projectId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('projectMembers')
    .select('userId')
    .where('projectId', '=', projectId)
    .where('role', '=', 'owner')
    .execute()
  return rows.map((row) => row.userId)
}

export async function setMemberRole(tx: Db, projectId: string, userId: string, role: ProjectRole): Promise<void> {
  await tx
    .updateTable('projectMembers')
    .set({ role })
    .where('projectId', '=', projectId)
    .where('userId', '=', userId)
    .execute()
}

export async function deleteMember(tx: Db, projectId: string, userId: string): Promise<void> {
  await tx.deleteFrom('projectMembers').where('projectId', '=', projectId).where('userId', '=', userId).execute()
}

export function findActiveUser(db: Db, username: string) {
  return db
    .selectFrom('users')
    .select(['id', 'username'])
    .where('usernameKey', '=', username.toLowerCase())
    .where('deactivatedAt', 'is', null)
    .executeTakeFirst()
}
