import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, isOneOf } from '../platform/db/dialect.ts'

/** Longer than any upload takes: what is younger may still get its row. */
const orphanAgeMs = 86_400_000
const batch = 500

/** Removes contents that no row names and what a crash left half-written, and sets each team's count to what it has. Answers how many contents went. */
export async function sweepStore(ctx: Context): Promise<number> {
  const before = ctx.clock.now() - orphanAgeMs
  const unfinished = await ctx.store.removeUnfinished(before)
  let removed = 0
  let keys: string[] = []
  const look = async (): Promise<void> => {
    for (const key of await findOrphans(ctx.db.kysely, keys)) {
      await ctx.store.remove(key)
      removed += 1
    }
    keys = []
  }
  for await (const { key, storedAt } of ctx.store.list()) {
    if (storedAt >= before) continue
    keys.push(key)
    if (keys.length === batch) await look()
  }
  await look()
  if (removed + unfinished > 0) ctx.log.warn({ event: 'orphans_removed', count: removed + unfinished })
  await recount(ctx)
  return removed + unfinished
}

async function findOrphans(db: Db, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return []
  const rows = await db
    .selectFrom('artifacts')
    .select('objectKey')
    .where(isOneOf(db, 'object_key', keys))
    .union(
      db
        .selectFrom('bundles')
        .select('objectKey')
        .where(isOneOf(db, 'object_key', keys)),
    )
    .execute()
  const named = new Set(rows.map(({ objectKey }) => objectKey))
  return keys.filter((key) => !named.has(key))
}

async function recount(ctx: Context): Promise<void> {
  const teams = await ctx.db.kysely.selectFrom('teamStorage').select('teamId').orderBy('teamId').execute()
  for (const { teamId } of teams) {
    const drift = await ctx.db.transaction((tx) => recountTeam(tx, teamId))
    if (drift !== 0) ctx.log.warn({ event: 'storage_recounted', count: drift })
  }
}

/** Who adds or removes a row counts it in the same transaction, last: while we hold the count, none of those under way can have committed. */
async function recountTeam(tx: Db, teamId: string): Promise<number> {
  const counted = await forUpdate(
    tx,
    tx.selectFrom('teamStorage').select('bytes').where('teamId', '=', teamId),
  ).executeTakeFirst()
  if (counted === undefined) return 0
  const bytes = (await sumOf(tx, 'bundles', teamId)) + (await sumOf(tx, 'artifacts', teamId))
  if (bytes !== counted.bytes) await tx.updateTable('teamStorage').set({ bytes }).where('teamId', '=', teamId).execute()
  return bytes - counted.bytes
}

async function sumOf(tx: Db, table: 'bundles' | 'artifacts', teamId: string): Promise<number> {
  const { sum } = await tx
    .selectFrom(table)
    .select((eb) => eb.fn.sum<number | string | null>('bytes').as('sum'))
    .where('teamId', '=', teamId)
    .executeTakeFirstOrThrow()
  // PostgreSQL sums int8 as numeric, which comes as text.
  return Number(sum ?? 0)
}
