import { sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { PageRequest } from '../platform/page.ts'

export function listUserRows(db: Db, by: { usernamePrefix?: string; emailKey?: string }, request: PageRequest) {
  let rows = db
    .selectFrom('users')
    .select(['id', 'username', 'email', 'adminSince', 'deactivatedAt', 'createdAt', 'lastLoginAt'])
    .where('erasedAt', 'is', null)
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  if (request.after !== undefined) rows = rows.where('id', '<', request.after)
  const { usernamePrefix, emailKey } = by
  if (emailKey !== undefined) rows = rows.where('emailKey', '=', emailKey)
  if (usernamePrefix !== undefined) {
    // No LIKE, whose wildcards a name may hold; a range would depend on the database's collation.
    const { length } = usernamePrefix
    rows = rows.where(sql`substr(username_key, 1, ${length})`, '=', usernamePrefix)
  }
  return rows.execute()
}

export function findUserRow(db: Db, userId: string, now: number) {
  return db
    .selectFrom('users')
    .select(['id', 'username', 'email', 'emailVerifiedAt', 'adminSince', 'deactivatedAt', 'passwordHash'])
    .select(['passwordDisabledAt', 'createdAt', 'lastLoginAt'])
    .select((eb) => [
      eb
        .selectFrom('sessions')
        .select((count) => count.fn.countAll<number>().as('count'))
        .whereRef('sessions.userId', '=', 'users.id')
        .where('sessions.revokedAt', 'is', null)
        .where('sessions.expiresAt', '>', now)
        .where('sessions.idleExpiresAt', '>', now)
        .as('sessionCount'),
      eb
        .selectFrom('apiKeys')
        .select((count) => count.fn.countAll<number>().as('count'))
        .whereRef('apiKeys.userId', '=', 'users.id')
        .where('apiKeys.revokedAt', 'is', null)
        .where((key) => key.or([key('apiKeys.expiresAt', 'is', null), key('apiKeys.expiresAt', '>', now)]))
        .as('keyCount'),
    ])
    .where('users.id', '=', userId)
    .where('users.erasedAt', 'is', null)
    .executeTakeFirst()
}

export async function listFactorKinds(db: Db, userId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('factors')
    .select('kind')
    .where('userId', '=', userId)
    .where('confirmedAt', 'is not', null)
    .orderBy('id')
    .execute()
  return rows.map((row) => row.kind)
}

export function lockUserRow(tx: Db, userId: string) {
  const query = tx
    .selectFrom('users')
    .select(['id', 'adminSince', 'deactivatedAt'])
    .where('id', '=', userId)
    .where('erasedAt', 'is', null)
  return forUpdate(tx, query).executeTakeFirst()
}

/** The admins who can sign in. */
export async function listAdminIds(tx: Db): Promise<string[]> {
  const rows = await tx
    .selectFrom('users')
    .select('id')
    .where('adminSince', 'is not', null)
    .where('deactivatedAt', 'is', null)
    .execute()
  return rows.map((row) => row.id)
}

/** Shuts a person out or lets one in; the token version makes every access token of before worthless for good. */
export async function setDeactivated(tx: Db, userId: string, at: number | null): Promise<void> {
  await tx
    .updateTable('users')
    .set((eb) => ({ deactivatedAt: at, tokenVersion: eb('tokenVersion', '+', 1) }))
    .where('id', '=', userId)
    .execute()
}

export async function setAdmin(tx: Db, userId: string, since: number | null): Promise<void> {
  await tx.updateTable('users').set({ adminSince: since }).where('id', '=', userId).execute()
}

/** Every team, with what it holds at this moment. */
export function listTeamRows(db: Db, namePrefix: string | undefined, request: PageRequest) {
  let rows = db
    .selectFrom('teams')
    .leftJoin('teamShares', 'teamShares.teamId', 'teams.id')
    .leftJoin('teamStorage', 'teamStorage.teamId', 'teams.id')
    .select(['teams.id', 'teams.name', 'teams.tier', 'teams.personalUserId', 'teams.createdAt'])
    .select((eb) => [
      eb.fn.coalesce('teamShares.waiting', eb.val(0)).as('waitingJobs'),
      eb.fn.coalesce('teamShares.running', eb.val(0)).as('runningJobs'),
      eb.fn.coalesce('teamStorage.bytes', eb.val(0)).as('storedBytes'),
      sql<number>`(select count(*) from team_members where team_members.team_id = teams.id)`.as('members'),
      sql<number>`(select count(*) from projects where projects.team_id = teams.id)`.as('projects'),
    ])
    .orderBy('teams.id', 'desc')
    .limit(request.limit + 1)
  if (request.after !== undefined) rows = rows.where('teams.id', '<', request.after)
  if (namePrefix !== undefined) {
    // The database lowers both and counts characters, not UTF-16: SQLite knows the case of ASCII alone, and what JavaScript lowers would never equal it.
    const { length } = [...namePrefix]
    rows = rows.where(sql<boolean>`lower(substr(teams.name, 1, ${length})) = lower(cast(${namePrefix} as text))`)
  }
  return rows.execute()
}
