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
    .select((eb) =>
      eb
        .selectFrom('factors')
        .select((factor) => factor.fn.countAll<number>().as('count'))
        .whereRef('factors.userId', '=', 'users.id')
        .where('factors.confirmedAt', 'is not', null)
        .as('factors'),
    )
    .where('users.id', '=', userId)
    .executeTakeFirst()
}

const accountColumns = [
  'users.id',
  'users.email',
  'users.username',
  'users.adminSince',
  'users.deactivatedAt',
  'users.emailVerifiedAt',
  'users.tokenVersion',
] as const

const accounts = (db: Db) => db.selectFrom('users').select(accountColumns)
const accountsWithHash = (db: Db) => accounts(db).select(['users.passwordHash', 'users.passwordDisabledAt'])

/** What signing in needs to know of a person; the hash is in `AccountWithHash` alone. */
export type Account = NonNullable<Awaited<ReturnType<typeof findAccount>>>
export type AccountWithHash = NonNullable<Awaited<ReturnType<typeof findAccountWithHash>>>

export function findAccount(db: Db, userId: string) {
  return accounts(db).where('users.id', '=', userId).executeTakeFirst()
}

export function findAccountWithHash(db: Db, by: { usernameKey: string } | { emailKey: string }) {
  const query = accountsWithHash(db)
  return (
    'emailKey' in by
      ? query.where('users.emailKey', '=', by.emailKey)
      : query.where('users.usernameKey', '=', by.usernameKey)
  ).executeTakeFirst()
}

/** Locks an active account until the transaction ends: a deactivation or a change of its credentials comes before or after. */
export function lockAccount(tx: Db, userId: string): Promise<AccountWithHash | undefined> {
  const query = accountsWithHash(tx).where('users.id', '=', userId).where('users.deactivatedAt', 'is', null)
  return forUpdate(tx, query).executeTakeFirst()
}

export async function setLogin(tx: Db, userId: string, change: { lastLoginAt: number }): Promise<void> {
  await tx.updateTable('users').set(change).where('id', '=', userId).execute()
}

/** Puts a new hash of the same password in the place of the one it was verified against, and of no other, with what is known of its length; answers whether it was still there. */
export async function replacePasswordHash(
  tx: Db,
  userId: string,
  verified: string,
  upgraded: { hash: string; shortAt: number | null },
): Promise<boolean> {
  const row = await tx
    .updateTable('users')
    .set({ passwordHash: upgraded.hash, passwordShortAt: upgraded.shortAt })
    .where('id', '=', userId)
    .where('passwordHash', '=', verified)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Changes the username; fails on `users(username_key)` when somebody else has it. */
export async function setUsername(
  tx: Db,
  userId: string,
  change: { username: string; usernameKey: string },
): Promise<void> {
  await tx.updateTable('users').set(change).where('id', '=', userId).execute()
}

export function findAccountWithPassword(db: Db, userId: string): Promise<AccountWithHash | undefined> {
  return accountsWithHash(db).where('users.id', '=', userId).executeTakeFirst()
}

/** Whether the person's password has fewer characters than one that stands alone. */
export async function isPasswordShort(db: Db, userId: string): Promise<boolean> {
  const row = await db.selectFrom('users').select('passwordShortAt').where('id', '=', userId).executeTakeFirst()
  return (row?.passwordShortAt ?? null) !== null
}

/** Whether the person could sign in without any passkey: with a password, or through an external provider. */
export async function hasOtherCredential(db: Db, userId: string): Promise<boolean> {
  const row = await db
    .selectFrom('users')
    .leftJoin('externalIdentities', 'externalIdentities.userId', 'users.id')
    .select('users.id')
    .where('users.id', '=', userId)
    .where((eb) => eb.or([eb('users.passwordHash', 'is not', null), eb('externalIdentities.id', 'is not', null)]))
    .executeTakeFirst()
  return row !== undefined
}
