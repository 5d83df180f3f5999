import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'

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
}

/** The one compare-and-set of a refresh: of several calls with one token exactly one gets the row (reference T2). */
export function rotateRefreshToken(tx: Db, rotation: Rotation) {
  const { now } = rotation
  return tx
    .updateTable('sessions')
    .set({
      refreshCounter: rotation.counter,
      refreshHash: rotation.successorHash,
      previousRefreshHash: rotation.presentedHash,
      rotatedAt: now,
      lastSeenAt: now,
      idleExpiresAt: rotation.idleExpiresAt,
    })
    .where('sessions.id', '=', rotation.sessionId)
    .where('sessions.refreshHash', '=', rotation.presentedHash)
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
    .select(['sessions.refreshHash', 'sessions.previousRefreshHash', 'sessions.rotatedAt'])
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

/** Ends every live session of the person but one; answers how many. */
export async function setOtherSessionsRevoked(
  tx: Db,
  userId: string,
  keptId: string,
  now: number,
  reason: string,
): Promise<number> {
  return (await revocation(tx, userId, now, reason).where('id', '<>', keptId).execute()).length
}

export async function setSessionsSeen(tx: Db, sessionIds: string[], at: number): Promise<void> {
  await tx
    .updateTable('sessions')
    .set({ lastSeenAt: at })
    .where('id', 'in', sessionIds)
    .where('lastSeenAt', '<', at)
    .execute()
}

export type SigningKeyRow = Awaited<ReturnType<typeof listSigningKeys>>[number]

/** The keys of a purpose that have not been retired. */
export function listSigningKeys(db: Db, purpose: string, now: number) {
  return db
    .selectFrom('signingKeys')
    .select(['id', 'state', 'publicKey', 'sealedPrivateKey'])
    .where('purpose', '=', purpose)
    .where((eb) => eb.or([eb('retiresAt', 'is', null), eb('retiresAt', '>', now)]))
    .orderBy('createdAt', 'desc')
    .execute()
}

export async function insertSigningKey(tx: Db, row: Insertable<Schema['signingKeys']>): Promise<void> {
  await tx.insertInto('signingKeys').values(row).execute()
}
