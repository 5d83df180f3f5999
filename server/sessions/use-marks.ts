import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'

/** A use is worth a write when the last one written is this old: the times are for people to read. */
const markEveryMs = 60_000
/** Ids of one statement; far below SQLite's 32,766 parameters. */
const maxPerWrite = 500

export interface UseMarks {
  /** Notes that the row is in use, unless that was written within the last minute; costs the request nothing. */
  mark(row: { id: string; usedAt: number | null }): void
  /** Resolves when everything noted so far is written, or its failure logged. */
  settled(): Promise<void>
}

/** Writes when rows were last used, off the requests' path and many in one statement: what arrives during a write goes into the next. */
export function createUseMarks(
  ctx: Context,
  name: string,
  write: (tx: Db, ids: string[], at: number) => Promise<void>,
): UseMarks {
  const waiting = new Set<string>()
  let writing: Promise<void> | undefined

  async function writeAll(): Promise<void> {
    while (waiting.size > 0) {
      // Sorted, so that replicas lock the rows of a batch in one order.
      const ids = [...waiting].slice(0, maxPerWrite).sort()
      for (const id of ids) waiting.delete(id)
      try {
        await ctx.db.transaction((tx) => write(tx, ids, ctx.clock.now()))
      } catch (error) {
        ctx.log.error({ event: 'use_mark_failed', name, count: ids.length }, error)
      }
    }
    writing = undefined
  }

  return {
    mark(row) {
      const now = ctx.clock.now()
      if (row.usedAt !== null && now - row.usedAt < markEveryMs) return
      row.usedAt = now
      waiting.add(row.id)
      writing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(writeAll)
    },
    settled: () => writing ?? Promise.resolve(),
  }
}
