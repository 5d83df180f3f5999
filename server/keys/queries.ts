import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'
import { bestTierOfUser, planColumns } from '../tiers/tiers.ts'

const shownColumns = [
  'apiKeys.id',
  'apiKeys.name',
  'apiKeys.prefix',
  'apiKeys.scopes',
  'apiKeys.projectId',
  'apiKeys.createdAt',
  'apiKeys.expiresAt',
  'apiKeys.lastUsedAt',
  'apiKeys.rateLimitPerHour',
  'apiKeys.replacedBy',
] as const

export type ApiKeyRow = Awaited<ReturnType<typeof insertApiKey>>

export function insertApiKey(tx: Db, row: Insertable<Schema['apiKeys']>) {
  return tx.insertInto('apiKeys').values(row).returning(shownColumns).executeTakeFirstOrThrow()
}

/** What each request asks: the key and its owner, as they are now. */
export function findLiveKey(db: Db, secretHash: string) {
  return db
    .selectFrom('apiKeys')
    .leftJoin('users', 'users.id', 'apiKeys.userId')
    .select(['apiKeys.id', 'apiKeys.userId', 'apiKeys.projectId', 'apiKeys.scopes', 'apiKeys.expiresAt'])
    .select(['apiKeys.revokedAt', 'apiKeys.lastUsedAt', 'apiKeys.rateLimitPerHour', 'apiKeys.rootId'])
    .select(['users.adminSince', 'users.deactivatedAt'])
    .leftJoin('tiers', (join) => join.on('tiers.name', '=', bestTierOfUser))
    .select(planColumns)
    .where('apiKeys.secretHash', '=', secretHash)
    .executeTakeFirst()
}

const liveKeysOf = (db: Db, userId: string, now: number) =>
  db
    .selectFrom('apiKeys')
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))

/** The person's live keys, newest first; one more than the limit. */
export function listApiKeyRows(db: Db, userId: string, now: number, page: PageRequest): Promise<ApiKeyRow[]> {
  const rows = liveKeysOf(db, userId, now)
    .select(shownColumns)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('id', '<', page.after)).execute()
}

/** How many live keys the person has; one that was replaced is counted with its successor. */
export async function countKeys(tx: Db, userId: string, now: number): Promise<number> {
  const { count } = await liveKeysOf(tx, userId, now)
    .where('replacedBy', 'is', null)
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(count)
}

export type RotatedKey = NonNullable<Awaited<ReturnType<typeof lockLiveKey>>>

/** A live key of the person, which nobody else changes until the transaction ends. */
export function lockLiveKey(tx: Db, userId: string, apiKeyId: string, now: number) {
  const key = liveKeysOf(tx, userId, now)
    .where('id', '=', apiKeyId)
    .select([...shownColumns, 'apiKeys.rootId'])
  return forUpdate(tx, key).executeTakeFirst()
}

export async function setApiKeyReplaced(
  tx: Db,
  apiKeyId: string,
  change: { replacedBy: string; expiresAt: number },
): Promise<void> {
  await tx.updateTable('apiKeys').set(change).where('id', '=', apiKeyId).execute()
}

/** Ends the keys that this one replaced and that are still live; answers them. */
export function setPredecessorsRevoked(tx: Db, apiKeyId: string, now: number): Promise<{ id: string }[]> {
  return tx
    .updateTable('apiKeys')
    .set({ revokedAt: now })
    .where('replacedBy', '=', apiKeyId)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)
    .returning('id')
    .execute()
}

/** Revokes a key of the person; answers it, or undefined when there is none to revoke. */
export function setApiKeyRevoked(tx: Db, userId: string, apiKeyId: string, now: number) {
  return tx
    .updateTable('apiKeys')
    .set({ revokedAt: now })
    .where('id', '=', apiKeyId)
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .returning(['id', 'projectId'])
    .executeTakeFirst()
}

/** Revokes every key of the person; answers them. */
export function setApiKeysRevoked(tx: Db, userId: string, now: number): Promise<{ id: string }[]> {
  return tx
    .updateTable('apiKeys')
    .set({ revokedAt: now })
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .returning('id')
    .execute()
}

export async function setApiKeysUsed(tx: Db, apiKeyIds: string[], at: number): Promise<void> {
  await tx
    .updateTable('apiKeys')
    .set({ lastUsedAt: at })
    .where('id', 'in', apiKeyIds)
    .where((eb) => eb.or([eb('lastUsedAt', 'is', null), eb('lastUsedAt', '<', at)]))
    .execute()
}

/** Keys that belong to no person, newest first, revoked ones too. */
export function listOperatorKeys(tx: Db, name: string) {
  return tx
    .selectFrom('apiKeys')
    .select(['id', 'projectId', 'secretHash', 'revokedAt'])
    .where('userId', 'is', null)
    .where('name', '=', name)
    .orderBy('id', 'desc')
    .execute()
}

export async function setOperatorKeyRevoked(tx: Db, apiKeyId: string, revokedAt: number | null): Promise<void> {
  await tx.updateTable('apiKeys').set({ revokedAt }).where('id', '=', apiKeyId).where('userId', 'is', null).execute()
}

export function findTeamOfProject(tx: Db, projectId: string) {
  return tx.selectFrom('projects').select('teamId').where('id', '=', projectId).executeTakeFirstOrThrow()
}

export async function insertTeam(tx: Db, row: Insertable<Schema['teams']>): Promise<void> {
  await tx.insertInto('teams').values(row).execute()
}

export async function insertProject(tx: Db, row: Insertable<Schema['projects']>): Promise<void> {
  await tx.insertInto('projects').values(row).execute()
}

export async function findEmail(db: Db, userId: string): Promise<string> {
  return (await db.selectFrom('users').select('email').where('id', '=', userId).executeTakeFirstOrThrow()).email
}

export interface ExpiringKey {
  userId: string
  name: string
  prefix: string
  expiresAt: number
}

/**
 * Live keys of active people that expire soon, marked as told in the same statement: each is answered once. Not those that were
 * replaced, nor those that were made to live no longer than that.
 */
export async function takeExpiringKeys(
  tx: Db,
  { now, withinMs, limit }: { now: number; withinMs: number; limit: number },
): Promise<ExpiringKey[]> {
  const expiring = tx
    .selectFrom('apiKeys')
    .innerJoin('users', 'users.id', 'apiKeys.userId')
    .select('apiKeys.id')
    .where('apiKeys.expiresAt', '>', now)
    .where('apiKeys.expiresAt', '<=', now + withinMs)
    .where((eb) => eb('apiKeys.createdAt', '<', eb('apiKeys.expiresAt', '-', withinMs)))
    .where('apiKeys.expiryToldAt', 'is', null)
    .where('apiKeys.revokedAt', 'is', null)
    .where('apiKeys.replacedBy', 'is', null)
    .where('users.deactivatedAt', 'is', null)
    .orderBy('apiKeys.expiresAt')
    .limit(limit)
  const rows = await tx
    .updateTable('apiKeys')
    .set({ expiryToldAt: now })
    .where('id', 'in', expiring)
    // Of two transactions that chose the same key, the one that waited for the other finds it told.
    .where('expiryToldAt', 'is', null)
    .returning(['userId', 'name', 'prefix', 'expiresAt'])
    .execute()
  return rows.filter((row): row is ExpiringKey => row.userId !== null && row.expiresAt !== null)
}
