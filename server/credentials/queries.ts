import type { Db } from '../platform/db/db.ts'

/** Puts a password in the place of the one before; what had disabled that is over. */
export async function setPasswordHash(
  tx: Db,
  userId: string,
  password: { passwordHash: string; passwordShortAt: number | null },
): Promise<void> {
  await tx
    .updateTable('users')
    .set({ ...password, passwordFailures: 0, passwordDisabledAt: null })
    .where('id', '=', userId)
    .execute()
}

/** Notes that the address was proved, if it is still the account's; false when it is not, or was proved before. */
export async function setEmailVerified(tx: Db, userId: string, emailKey: string, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('users')
    .set({ emailVerifiedAt: now })
    .where('id', '=', userId)
    .where('emailKey', '=', emailKey)
    .where('emailVerifiedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Changes the address to one that was just proved; fails on `users(email_key)` when somebody else has it. */
export async function setEmail(
  tx: Db,
  userId: string,
  change: { email: string; emailKey: string; emailVerifiedAt: number },
): Promise<void> {
  await tx.updateTable('users').set(change).where('id', '=', userId).execute()
}

/** Whether anything but the password and API keys opens the account: a confirmed factor, or an identity elsewhere. */
export async function hasOwnFactorOrIdentity(tx: Db, userId: string): Promise<boolean> {
  const factor = tx.selectFrom('factors').select('id').where('userId', '=', userId).where('confirmedAt', 'is not', null)
  const identity = tx.selectFrom('externalIdentities').select('id').where('userId', '=', userId)
  return (await factor.unionAll(identity).limit(1).executeTakeFirst()) !== undefined
}

export function findByEmail(db: Db, emailKey: string) {
  return owners(db).where('emailKey', '=', emailKey).executeTakeFirst()
}

export function findByUsername(db: Db, usernameKey: string) {
  return owners(db).where('usernameKey', '=', usernameKey).executeTakeFirst()
}

function owners(db: Db) {
  return db.selectFrom('users').select(['id', 'email', 'username'])
}
