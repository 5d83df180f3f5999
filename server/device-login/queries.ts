import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'

export async function insertAuthorization(tx: Db, row: Insertable<Schema['deviceAuthorizations']>): Promise<void> {
  await tx.insertInto('deviceAuthorizations').values(row).execute()
}

export type AuthorizationRow = NonNullable<Awaited<ReturnType<typeof findByDeviceCode>>>

export function findByDeviceCode(db: Db, deviceCodeHash: string, now: number) {
  return db
    .selectFrom('deviceAuthorizations')
    .selectAll()
    .where('deviceCodeHash', '=', deviceCodeHash)
    .where('expiresAt', '>', now)
    .executeTakeFirst()
}

/** The undecided login that a user code stands for. */
export function findByUserCode(db: Db, userCodeHash: string, now: number) {
  return db
    .selectFrom('deviceAuthorizations')
    .select(['id', 'deviceName', 'ip', 'createdAt', 'expiresAt'])
    .where('userCodeHash', '=', userCodeHash)
    .where('decidedAt', 'is', null)
    .where('expiresAt', '>', now)
    .executeTakeFirst()
}

/** Decides a login, once: of any number of decisions at once exactly one is answered with the row. */
export function setDecided(
  tx: Db,
  userCodeHash: string,
  now: number,
  decision: { userId: string; sessionId: string; amr: string; approvedAt: number | null },
) {
  return tx
    .updateTable('deviceAuthorizations')
    .set({ ...decision, decidedAt: now })
    .where('userCodeHash', '=', userCodeHash)
    .where('decidedAt', 'is', null)
    .where('expiresAt', '>', now)
    .returning('id')
    .executeTakeFirst()
}

/** Notes a poll; false when the one before was too recent. */
export async function setPolled(tx: Db, id: string, now: number, intervalMs: number): Promise<boolean> {
  const row = await tx
    .updateTable('deviceAuthorizations')
    .set({ lastPolledAt: now })
    .where('id', '=', id)
    .where((eb) => eb.or([eb('lastPolledAt', 'is', null), eb('lastPolledAt', '<=', now - intervalMs)]))
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Spends an approved login: of any number of polls at once exactly one gets the session. */
export async function deleteApproved(tx: Db, id: string): Promise<boolean> {
  const row = await tx
    .deleteFrom('deviceAuthorizations')
    .where('id', '=', id)
    .where('approvedAt', 'is not', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Forgets the logins that a person has approved and no device has fetched yet. */
export async function deleteApprovedBy(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('deviceAuthorizations').where('userId', '=', userId).where('approvedAt', 'is not', null).execute()
}

/**
 * Whether the session that approved was taken away by nobody since; held until the transaction ends. That it signed out itself does not count: the page
 * does so once it has approved.
 */
export async function isApproverTrusted(tx: Db, sessionId: string): Promise<boolean> {
  const session = tx
    .selectFrom('sessions')
    .select('id')
    .where('id', '=', sessionId)
    .where((eb) => eb.or([eb('revokedAt', 'is', null), eb('revokedReason', '=', 'logged_out')]))
  return (await forUpdate(tx, session).executeTakeFirst()) !== undefined
}

export function getSessionMethods(db: Db, sessionId: string) {
  return db.selectFrom('sessions').select('amr').where('id', '=', sessionId).executeTakeFirstOrThrow()
}

export async function deleteExpired(db: Db, now: number): Promise<void> {
  await db.deleteFrom('deviceAuthorizations').where('expiresAt', '<=', now).execute()
}
