// The life of an index: batches arrive while its attempt holds the lease; `prepareIndex` closes it; publishing it is the
// row in `mirrors`, written with the job's completion; what is then neither served nor leased is dropped.
import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'
import type { Context } from '../platform/context.ts'
import { requireBatch, type Totals } from './limits.ts'
import { countFiles, dropRows, listIndexes, receiveInTable } from './postgres-indexes.ts'
import { findLiveTokens } from './queries.ts'
import { closeThreads, dropFile, listFiles, prepareFile, receiveInFile } from './sqlite-indexes.ts'

/**
 * Stores a batch of an unpublished index; when this resolves it survives a crash. The same batch sent again is stored
 * once. The caller has proven the lease. Refuses with `payload_too_large` past 200,000 files or 512 MiB of text, and with
 * `lease_lost` once the index was handed in.
 */
export async function receiveFiles(
  ctx: Context,
  { projectId, token, batch, files }: { projectId: string; token: number; batch: number; files: IndexedFile[] },
): Promise<void> {
  requireBatch(batch, files.length)
  const receive = ctx.db.dialect === 'postgres' ? receiveInTable : receiveInFile
  await receive(ctx, { projectId, token }, batch, files)
}

/** Makes the index ready to be published and counts it; call before the completing transaction. Without any batch it is empty. */
export function prepareIndex(ctx: Context, name: { projectId: string; token: number }): Promise<Totals> {
  return ctx.db.dialect === 'postgres' ? countFiles(ctx.db.kysely, name) : prepareFile(ctx, name)
}

/** Removes an index that is not served (any more); one that is not there is no error. */
export function dropIndex(ctx: Context, projectId: string, token: number): Promise<void> {
  return (ctx.db.dialect === 'postgres' ? dropRows : dropFile)(ctx, { projectId, token })
}

/** Removes what crashes and lost leases left: every index neither served nor held by a lease. Returns how many. */
export async function sweepIndexes(ctx: Context): Promise<number> {
  // First the indexes, then who lives: an index that begins in between is not in the list.
  const present = ctx.db.dialect === 'postgres' ? await listIndexes(ctx.db.kysely) : await listFiles(ctx)
  const live = await findLiveTokens(ctx.db.kysely)
  const orphans = present.filter(({ token }) => !live.has(token))
  for (const { projectId, token } of orphans) await dropIndex(ctx, projectId, token)
  return orphans.length
}

/** Ends the threads once their work is done; the indexes of this context then refuse calls. */
export function closeIndexes(ctx: Context): Promise<void> {
  return closeThreads(ctx)
}
