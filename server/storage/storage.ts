import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { getPlan } from '../tiers/tiers.ts'

export { storageGauges } from './gauges.ts'
export { sweepStore } from './sweep.ts'

/**
 * Counts bytes against the team's plan, or refuses with `storage_full`. One statement compares and counts, so that no two share the last of it. The last lock of its
 * transaction: whoever holds it waits for nothing but the commit.
 */
export async function takeStorage(tx: Db, teamId: string, bytes: number): Promise<void> {
  const { storedBytes } = await getPlan(tx, teamId)
  await tx
    .insertInto('teamStorage')
    .values({ teamId })
    .onConflict((conflict) => conflict.column('teamId').doNothing())
    .execute()
  const result = await tx
    .updateTable('teamStorage')
    .set((eb) => ({ bytes: eb('bytes', '+', bytes) }))
    .where('teamId', '=', teamId)
    .where('bytes', '<=', storedBytes - bytes)
    .executeTakeFirst()
  if (result.numUpdatedRows !== 1n) throw storageFull(teamId, storedBytes)
}

/** Refuses early what would not find room at this moment; `takeStorage` decides. */
export async function requireRoom(db: Db, teamId: string, bytes: number): Promise<void> {
  const { storedBytes } = await getPlan(db, teamId)
  const used = await db.selectFrom('teamStorage').select('bytes').where('teamId', '=', teamId).executeTakeFirst()
  if ((used?.bytes ?? 0) + bytes > storedBytes) throw storageFull(teamId, storedBytes)
}

function storageFull(teamId: string, storedBytes: number): AppError {
  return new AppError('storage_full', { teamId }, { detail: `The plan of the team keeps ${storedBytes} bytes` })
}

/** Gives bytes back whose rows went in this transaction; never below nothing. */
export async function returnStorage(tx: Db, rows: readonly { teamId: string; bytes: number }[]): Promise<void> {
  const byTeam = new Map<string, number>()
  for (const { teamId, bytes } of rows) byTeam.set(teamId, (byTeam.get(teamId) ?? 0) + bytes)
  // In one order, whoever else returns some: two sweeps must not wait for each other.
  for (const [teamId, bytes] of [...byTeam].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await tx
      .updateTable('teamStorage')
      .set((eb) => ({
        bytes: eb
          .case()
          .when('bytes', '>', bytes)
          .then(eb('bytes', '-', bytes))
          .else(0)
          .end(),
      }))
      .where('teamId', '=', teamId)
      .execute()
  }
}

/** Removes contents whose rows are gone, or never came to be. What fails here, or is not reached, the sweep of the store finds. */
export async function discardObjects(ctx: Context, keys: readonly (string | null)[]): Promise<void> {
  for (const key of keys) {
    if (key === null) continue
    try {
      await ctx.store.remove(key)
    } catch (error) {
      ctx.log.error({ event: 'object_not_removed' }, error)
    }
  }
}

/** Every content of a team; before its rows are deleted. */
export async function listTeamObjects(tx: Db, teamId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('artifacts')
    .select('objectKey')
    .where('teamId', '=', teamId)
    .union(tx.selectFrom('bundles').select('objectKey').where('teamId', '=', teamId))
    .execute()
  return rows.flatMap(({ objectKey }) => (objectKey === null ? [] : [objectKey]))
}
