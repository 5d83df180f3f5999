import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'
import { bestTierOfUser, planColumns } from '../tiers/tiers.ts'

const sessionColumns = [
  'sessions.id',
  'sessions.userId',
  'sessions.deviceName',
  'sessions.userAgent',
  'sessions.ip',
  'sessions.createdAt',
  'sessions.lastSeenAt',
  'sessions.expiresAt',
  'sessions.idleExpiresAt',
  'sessions.revokedAt',
  'sessions.amr',
  'sessions.deviceKey',
] as const

export type SessionRow = Awaited<ReturnType<typeof insertSession>>

export function insertSession(tx: Db, row: Insertable<Schema['sessions']>) {
  return tx.insertInto('sessions').values(row).returning(sessionColumns).executeTakeFirstOrThrow()
}

/** What each request asks: the session and its person, as they are now. */
export function findLiveSession(db: Db, sessionId: string) {
  return db
    .selectFrom('sessions')
    .innerJoin('users', 'users.id', 'sessions.userId')
    .select(['sessions.id', 'sessions.userId', 'sessions.revokedAt', 'sessions.expiresAt', 'sessions.idleExpiresAt'])
    .select(['sessions.lastSeenAt', 'users.adminSince', 'users.deactivatedAt', 'users.tokenVersion'])
    .leftJoin('tiers', (join) => join.on('tiers.name', '=', bestTierOfUser))
    .select(planColumns)
    .where('sessions.id', '=', sessionId)
    .executeTakeFirst()
}

export interface Rotation {
  sessionId: string
  presentedHash: string
  successorHash: string
  counter: number
  now: number
  idleExpiresAt: number
  /** The thumbprint of the key that was proved; null when none was. */
  deviceKey: string | null
}

/**
 * The one compare-and-set of a refresh: of several calls with one token exactly one gets the row (reference T2). A session bound to a
 * device's key needs that key; one that is not is bound by the first that is proved, and never let go again.
 */
export function rotateRefreshToken(tx: Db, rotation: Rotation) {
  const { now, deviceKey } = rotation
  return tx
    .updateTable('sessions')
    .set((eb) => ({
      refreshCounter: rotation.counter,
      refreshHash: rotation.successorHash,
      previousRefreshHash: rotation.presentedHash,
      rotatedAt: now,
      lastSeenAt: now,
      idleExpiresAt: rotation.idleExpiresAt,
      ...(deviceKey !== null && {
        deviceKey,
        deviceKeyFrom: eb.fn.coalesce('deviceKeyFrom', eb.val(rotation.counter)),
      }),
    }))
    .where('sessions.id', '=', rotation.sessionId)
    .where('sessions.refreshHash', '=', rotation.presentedHash)
    .where((eb) => eb.or([eb('sessions.deviceKey', 'is', null), eb('sessions.deviceKey', '=', deviceKey)]))
    .where('sessions.revokedAt', 'is', null)
    .where('sessions.expiresAt', '>', now)
    .where('sessions.idleExpiresAt', '>', now)
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('users')
          .select('users.id')
          .whereRef('users.id', '=', 'sessions.userId')
          .where('users.deactivatedAt', 'is', null),
      ),
    )
    .returning(sessionColumns)
    .executeTakeFirst()
}

/** A session with its refresh state, locked against a refresh or a revocation at the same time. */
export function lockSession(tx: Db, sessionId: string) {
  const query = tx
    .selectFrom('sessions')
    .select(sessionColumns)
    .select(['sessions.refreshHash', 'sessions.previousRefreshHash', 'sessions.rotatedAt', 'sessions.deviceKeyFrom'])
    .where('sessions.id', '=', sessionId)
  return forUpdate(tx, query).executeTakeFirst()
}

const liveSessionsOf = (db: Db, userId: string, now: number) =>
  db
    .selectFrom('sessions')
    .select(sessionColumns)
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)
    .where('idleExpiresAt', '>', now)

/** Live sessions, newest first; one more than the limit. */
export function listSessionRows(db: Db, userId: string, now: number, page: PageRequest): Promise<SessionRow[]> {
  const rows = liveSessionsOf(db, userId, now)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('id', '<', page.after)).execute()
}

const revocation = (tx: Db, userId: string, now: number, reason: string) =>
  tx
    .updateTable('sessions')
    .set({ revokedAt: now, revokedReason: reason })
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)
    .where('idleExpiresAt', '>', now)
    .returning('id')

/** Ends one live session of the person; answers whether there was one. */
export async function setSessionRevoked(
  tx: Db,
  userId: string,
  sessionId: string,
  now: number,
  reason: string,
): Promise<boolean> {
  return (await revocation(tx, userId, now, reason).where('id', '=', sessionId).executeTakeFirst()) !== undefined
}

/** Ends every live session of the person, all but one where one is named; answers how many. */
export async function setSessionsRevoked(
  tx: Db,
  userId: string,
  exceptId: string | null,
  now: number,
  reason: string,
): Promise<number> {
  const all = revocation(tx, userId, now, reason)
  return (await (exceptId === null ? all : all.where('id', '<>', exceptId)).execute()).length
}

/** Ends the live sessions beyond the given number, those unused for longest; answers how many. */
export async function endSurplusSessions(tx: Db, userId: string, max: number, now: number): Promise<number> {
  const surplus = liveSessionsOf(tx, userId, now)
    .orderBy('lastSeenAt', 'desc')
    .orderBy('id', 'desc')
    .limit(1000)
    .offset(max)
  const ids = (await surplus.execute()).map((row) => row.id)
  if (ids.length > 0) await revocation(tx, userId, now, 'too_many').where('id', 'in', ids).execute()
  return ids.length
}

export async function setSessionsSeen(tx: Db, sessionIds: string[], at: number): Promise<void> {
  await tx
    .updateTable('sessions')
    .set({ lastSeenAt: at })
    .where('id', 'in', sessionIds)
    .where('lastSeenAt', '<', at)
    .execute()
}

export type SigningKeyRow = Awaited<ReturnType<typeof listSigningKeyRows>>[number]

/** Every key of the purpose, newest first. */
export function listSigningKeyRows(db: Db, purpose: string) {
  return db
    .selectFrom('signingKeys')
    .select(['id', 'state', 'publicKey', 'sealedPrivateKey', 'createdAt', 'activatedAt', 'retiresAt'])
    .where('purpose', '=', purpose)
    .orderBy('createdAt', 'desc')
    .orderBy('id')
    .execute()
}

export async function insertSigningKey(tx: Db, row: Insertable<Schema['signingKeys']>): Promise<void> {
  await tx.insertInto('signingKeys').values(row).execute()
}

export async function setSigningKeyCurrent(tx: Db, id: string, now: number): Promise<void> {
  await tx.updateTable('signingKeys').set({ state: 'current', activatedAt: now }).where('id', '=', id).execute()
}

/** The key verifies until then and never signs again: its private half is gone. */
export async function setSigningKeyPrevious(tx: Db, id: string, retiresAt: number): Promise<void> {
  const change = { state: 'previous', retiresAt, sealedPrivateKey: '' } as const
  await tx.updateTable('signingKeys').set(change).where('id', '=', id).execute()
}

export async function deleteSigningKeys(tx: Db, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await tx.deleteFrom('signingKeys').where('id', 'in', ids).execute()
}

/** Remembers a device proof; false when it is remembered already. Of several calls at once one is answered true. */
export async function insertProof(db: Db, nonce: string, expiresAt: number): Promise<boolean> {
  const row = await db
    .insertInto('proofNonces')
    .values({ nonce, expiresAt })
    .onConflict((conflict) => conflict.column('nonce').doNothing())
    .returning('nonce')
    .executeTakeFirst()
  return row !== undefined
}

export async function deleteExpiredProofs(db: Db, now: number): Promise<void> {
  await db.deleteFrom('proofNonces').where('expiresAt', '<=', now).execute()
}
