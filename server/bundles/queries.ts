import { type Insertable, type RawBuilder, type Selectable, type SqlBool, sql } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, forUpdateSkipLocked, greatest, isOneOf } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'
import { visibleProjects } from '../projects/projects.ts'

export type BundleRow = Selectable<Schema['bundles']>

export async function insertBundle(tx: Db, row: Insertable<Schema['bundles']>): Promise<void> {
  await tx.insertInto('bundles').values(row).execute()
}

export function listBundleRows(db: Db, projectId: string, now: number, page: PageRequest): Promise<BundleRow[]> {
  const rows = db
    .selectFrom('bundles')
    .selectAll()
    .where('projectId', '=', projectId)
    .where('expiresAt', '>', now)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('id', '<', page.after)).execute()
}

/** Held until the transaction ends: a job that needs it is submitted before or after, not meanwhile. */
export function lockVisible(tx: Db, actor: Actor, bundleId: string, now: number): Promise<BundleRow | undefined> {
  const rows = tx
    .selectFrom('bundles')
    .selectAll()
    .where('id', '=', bundleId)
    .where('expiresAt', '>', now)
    .where('projectId', 'in', visibleProjects(tx, actor))
  return forUpdate(tx, rows).executeTakeFirst()
}

/** Whatever its time: while an open job needs it, it stays. */
export function findInProject(db: Db, projectId: string, bundleId: string): Promise<BundleRow | undefined> {
  return db
    .selectFrom('bundles')
    .selectAll()
    .where('id', '=', bundleId)
    .where('projectId', '=', projectId)
    .executeTakeFirst()
}

/** Lets a bundle of the project live until a time at least; false when there is none. */
export async function extendBundle(
  tx: Db,
  { projectId, bundleId, until, now }: { projectId: string; bundleId: string; until: number; now: number },
): Promise<boolean> {
  const result = await tx
    .updateTable('bundles')
    .set({ expiresAt: greatest(tx, sql.ref<number>('expires_at'), until) })
    .where('id', '=', bundleId)
    .where('projectId', '=', projectId)
    .where('expiresAt', '>', now)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Whether a job that has not ended names the bundle. */
const isInUse = (): RawBuilder<SqlBool> =>
  sql<SqlBool>`exists (select 1 from jobs where jobs.project_id = bundles.project_id and jobs.state in ('queued', 'leased', 'running')
    and jobs.input like '%"bundle":"' || bundles.id || '"%')`

export async function isNeeded(tx: Db, bundleId: string): Promise<boolean> {
  const row = await tx.selectFrom('bundles').select('id').where('id', '=', bundleId).where(isInUse()).executeTakeFirst()
  return row !== undefined
}

export async function deleteRow(tx: Db, bundleId: string): Promise<void> {
  await tx.deleteFrom('bundles').where('id', '=', bundleId).execute()
}

/** Takes out some whose time is over and that no open job needs. A job that takes hold of one at this moment either has it locked, or waits and finds it gone. */
export async function deleteExpired(tx: Db, now: number, limit: number) {
  const expired = tx
    .selectFrom('bundles')
    .select('id')
    .where('expiresAt', '<=', now)
    .where((eb) => eb.not(isInUse()))
    .orderBy('expiresAt')
    .limit(limit)
  const ids = (await forUpdateSkipLocked(tx, expired).execute()).map(({ id }) => id)
  if (ids.length === 0) return []
  return tx
    .deleteFrom('bundles')
    .where(isOneOf(tx, 'id', ids))
    .returning(['teamId', 'bytes', 'objectKey'])
    .execute()
}
