import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'

const shownColumns = [
  'apiKeys.id',
  'apiKeys.name',
  'apiKeys.prefix',
  'apiKeys.scopes',
  'apiKeys.projectId',
  'apiKeys.createdAt',
  'apiKeys.expiresAt',
  'apiKeys.lastUsedAt',
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
    .select(['apiKeys.revokedAt', 'apiKeys.lastUsedAt', 'users.adminSince', 'users.deactivatedAt'])
    .where('apiKeys.secretHash', '=', secretHash)
    .executeTakeFirst()
}

/** The person's live keys, newest first; one more than the limit. */
export function listApiKeyRows(db: Db, userId: string, now: number, page: PageRequest): Promise<ApiKeyRow[]> {
  const rows = db
    .selectFrom('apiKeys')
    .select(shownColumns)
    .where('userId', '=', userId)
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('id', '<', page.after)).execute()
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
