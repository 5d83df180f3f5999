import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'

const shownColumns = ['id', 'kind', 'name', 'createdAt', 'lastUsedAt'] as const

export type FactorRow = Awaited<ReturnType<typeof listFactorRows>>[number]

/** Whether nobody has ended the session; held until the transaction ends. Lock the account first where that is locked too. */
export async function isSessionOpen(tx: Db, sessionId: string): Promise<boolean> {
  const session = tx.selectFrom('sessions').select('id').where('id', '=', sessionId).where('revokedAt', 'is', null)
  return (await forUpdate(tx, session).executeTakeFirst()) !== undefined
}

/** The confirmed factors of a person, oldest first. */
export function listFactorRows(db: Db, userId: string) {
  return db
    .selectFrom('factors')
    .select(shownColumns)
    .where('userId', '=', userId)
    .where('confirmedAt', 'is not', null)
    .orderBy('id')
    .execute()
}

/** The factors of one kind, with what proves them: the pending one beside a confirmed one while a setup is open. */
export function listFactorSecrets(db: Db, userId: string, kind: string) {
  return db
    .selectFrom('factors')
    .select([...shownColumns, 'sealedSecret', 'externalId', 'data', 'lastStep', 'confirmedAt'])
    .where('userId', '=', userId)
    .where('kind', '=', kind)
    .orderBy('id')
    .execute()
}

export async function insertFactor(tx: Db, row: Insertable<Schema['factors']>): Promise<void> {
  await tx.insertInto('factors').values(row).execute()
}

/** Uses a TOTP time step, once: of any number of requests with one code exactly one is answered true (RFC 6238 §5.2). */
export async function useTotpStep(tx: Db, factorId: string, step: number, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('factors')
    .set({ lastStep: step, lastUsedAt: now })
    .where('id', '=', factorId)
    .where('confirmedAt', 'is not', null)
    .where((eb) => eb.or([eb('lastStep', 'is', null), eb('lastStep', '<', step)]))
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Counts a stranger's code as wrong before it is checked; answers how many were in a row, or undefined when it is more than may be tried. */
export async function countFactorFailure(tx: Db, factorId: string, max: number): Promise<number | undefined> {
  const row = await tx
    .updateTable('factors')
    .set((eb) => ({ failures: eb('failures', '+', 1) }))
    .where('id', '=', factorId)
    .where('failures', '<', max)
    .returning('failures')
    .executeTakeFirst()
  return row?.failures
}

/** The person has proved a factor: the codes counted as wrong are forgotten. */
export async function forgiveFactorFailures(tx: Db, userId: string): Promise<void> {
  await tx.updateTable('factors').set({ failures: 0 }).where('userId', '=', userId).where('failures', '>', 0).execute()
}

/** Confirms a pending TOTP factor with the step of the code that proved it, which is used with that. */
export async function confirmTotpFactor(tx: Db, factorId: string, step: number, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('factors')
    .set({ confirmedAt: now, lastStep: step })
    .where('id', '=', factorId)
    .where('confirmedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function deletePendingTotp(tx: Db, userId: string): Promise<void> {
  await tx
    .deleteFrom('factors')
    .where('userId', '=', userId)
    .where('kind', '=', 'totp')
    .where('confirmedAt', 'is', null)
    .execute()
}

/** Removes a confirmed factor of the person; answers whether there was one. */
export async function deleteFactor(tx: Db, userId: string, kind: string, factorId?: string): Promise<boolean> {
  const all = tx
    .deleteFrom('factors')
    .where('userId', '=', userId)
    .where('kind', '=', kind)
    .where('confirmedAt', 'is not', null)
  const one = factorId === undefined ? all : all.where('id', '=', factorId)
  return (await one.returning('id').executeTakeFirst()) !== undefined
}

export async function replaceRecoveryCodes(tx: Db, userId: string, hashes: readonly string[], now: number) {
  await deleteRecoveryCodes(tx, userId)
  const rows = hashes.map((codeHash) => ({ codeHash, userId, createdAt: now, usedAt: null }))
  await tx.insertInto('recoveryCodes').values(rows).execute()
}

export async function deleteRecoveryCodes(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('recoveryCodes').where('userId', '=', userId).execute()
}

export async function countRecoveryCodes(db: Db, userId: string): Promise<number> {
  const row = await db
    .selectFrom('recoveryCodes')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('userId', '=', userId)
    .where('usedAt', 'is', null)
    .executeTakeFirstOrThrow()
  return row.count
}

export function findRecoveryCode(db: Db, userId: string, codeHash: string) {
  return db
    .selectFrom('recoveryCodes')
    .select('codeHash')
    .where('userId', '=', userId)
    .where('codeHash', '=', codeHash)
    .where('usedAt', 'is', null)
    .executeTakeFirst()
}

/** Uses a recovery code, once. */
export async function useRecoveryCode(tx: Db, userId: string, codeHash: string, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('recoveryCodes')
    .set({ usedAt: now })
    .where('userId', '=', userId)
    .where('codeHash', '=', codeHash)
    .where('usedAt', 'is', null)
    .returning('codeHash')
    .executeTakeFirst()
  return row !== undefined
}

/** A passkey by what the device calls it, whoever it belongs to. */
export function findPasskey(db: Db, credentialId: string) {
  return db
    .selectFrom('factors')
    .select(['id', 'userId', 'data'])
    .where('kind', '=', 'passkey')
    .where('externalId', '=', credentialId)
    .executeTakeFirst()
}

/** Notes a use of a passkey with its new counter; false when it was removed, or used with another counter, meanwhile. */
export async function setPasskeyUsed(
  tx: Db,
  factorId: string,
  data: { before: string; after: string },
  now: number,
): Promise<boolean> {
  const row = await tx
    .updateTable('factors')
    .set({ data: data.after, lastUsedAt: now })
    .where('id', '=', factorId)
    .where('data', '=', data.before)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export function setFactorName(tx: Db, userId: string, kind: string, factorId: string, name: string) {
  return tx
    .updateTable('factors')
    .set({ name })
    .where('id', '=', factorId)
    .where('userId', '=', userId)
    .where('kind', '=', kind)
    .returning(shownColumns)
    .executeTakeFirst()
}
