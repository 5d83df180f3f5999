import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'

const setupId = 1

export function findSetup(db: Db) {
  return db.selectFrom('setup').select(['tokenHash', 'completedAt']).where('id', '=', setupId).executeTakeFirst()
}

/** Stores the hash of a new setup token; answers whether the setup is still open. */
export async function storeSetupToken(db: Db, tokenHash: string): Promise<boolean> {
  const stored = await db
    .insertInto('setup')
    .values({ id: setupId, tokenHash, completedAt: null })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ tokenHash }).where('setup.completedAt', 'is', null))
    .returning('id')
    .executeTakeFirst()
  return stored !== undefined
}

/** Spends the setup token; of several at once exactly one is answered with true. */
export async function completeSetup(tx: Db, tokenHash: string, now: number): Promise<boolean> {
  const completed = await tx
    .updateTable('setup')
    .set({ completedAt: now, tokenHash: null })
    .where('id', '=', setupId)
    .where('completedAt', 'is', null)
    .where('tokenHash', '=', tokenHash)
    .returning('id')
    .executeTakeFirst()
  return completed !== undefined
}

export async function insertUser(tx: Db, row: Insertable<Schema['users']>): Promise<void> {
  await tx.insertInto('users').values(row).execute()
}

export async function insertTeam(tx: Db, row: Insertable<Schema['teams']>): Promise<void> {
  await tx.insertInto('teams').values(row).execute()
}

export async function insertTeamMember(tx: Db, row: Insertable<Schema['teamMembers']>): Promise<void> {
  await tx.insertInto('teamMembers').values(row).execute()
}

export type UserRow = NonNullable<Awaited<ReturnType<typeof findUser>>>

export function findUser(db: Db, userId: string) {
  return db
    .selectFrom('users')
    .leftJoin('teams', 'teams.personalUserId', 'users.id')
    .select(['users.id', 'users.email', 'users.username', 'users.adminSince', 'users.deactivatedAt'])
    .select(['users.emailVerifiedAt', 'users.createdAt', 'users.lastLoginAt', 'teams.tier'])
    .where('users.id', '=', userId)
    .executeTakeFirst()
}

const accounts = (db: Db) =>
  db
    .selectFrom('users')
    .select(['users.id', 'users.username', 'users.adminSince', 'users.deactivatedAt', 'users.tokenVersion'])

/** What signing in needs to know of a person; the hash is read by `findAccountWithHash` alone. */
export type Account = NonNullable<Awaited<ReturnType<typeof findAccount>>>

export function findAccount(db: Db, userId: string) {
  return accounts(db).where('users.id', '=', userId).executeTakeFirst()
}

export function findAccountWithHash(db: Db, by: { usernameKey: string } | { emailKey: string }) {
  const query = accounts(db).select('users.passwordHash')
  return (
    'emailKey' in by
      ? query.where('users.emailKey', '=', by.emailKey)
      : query.where('users.usernameKey', '=', by.usernameKey)
  ).executeTakeFirst()
}

/** Locks an active account whose password is still the one that was verified. */
export function lockVerifiedAccount(tx: Db, userId: string, passwordHash: string) {
  const query = accounts(tx)
    .where('users.id', '=', userId)
    .where('users.passwordHash', '=', passwordHash)
    .where('users.deactivatedAt', 'is', null)
  return forUpdate(tx, query).executeTakeFirst()
}

export async function setLogin(tx: Db, userId: string, change: { lastLoginAt: number; passwordHash?: string }) {
  await tx.updateTable('users').set(change).where('id', '=', userId).execute()
}
