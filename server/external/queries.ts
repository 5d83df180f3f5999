import type { Insertable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'

const shown = ['id', 'userId', 'issuer', 'createdAt', 'lastUsedAt'] as const
export type IdentityRow = Awaited<ReturnType<typeof insertIdentity>>

export function insertIdentity(tx: Db, row: Insertable<Schema['externalIdentities']>) {
  return tx.insertInto('externalIdentities').values(row).returning(shown).executeTakeFirstOrThrow()
}

/** The identity by what the provider calls the person: issuer and subject, never the address (OpenID Connect Core §5.7). */
export function findIdentity(db: Db, issuer: string, subject: string): Promise<IdentityRow | undefined> {
  return db
    .selectFrom('externalIdentities')
    .select(shown)
    .where('issuer', '=', issuer)
    .where('subject', '=', subject)
    .executeTakeFirst()
}

export function listIdentityRows(db: Db, userId: string): Promise<IdentityRow[]> {
  return db.selectFrom('externalIdentities').select(shown).where('userId', '=', userId).orderBy('id').execute()
}

/** Notes a use; false when the identity was unlinked meanwhile. */
export async function setIdentityUsed(tx: Db, id: string, now: number): Promise<boolean> {
  const row = await tx
    .updateTable('externalIdentities')
    .set({ lastUsedAt: now })
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function deleteIdentity(tx: Db, userId: string, id: string): Promise<boolean> {
  const row = await tx
    .deleteFrom('externalIdentities')
    .where('userId', '=', userId)
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}
