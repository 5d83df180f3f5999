import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { receiveFiles } from '../search/search.ts'
import { requireLease } from './lease.ts'

/** Hands a batch of files to the index that this lease builds. What a lost lease sent is never served, and the sweep removes it. */
export async function uploadIndex(
  ctx: Context,
  actor: Actor,
  token: string,
  upload: { batch: number; files: IndexedFile[] },
): Promise<void> {
  const lease = await ctx.db.transaction((tx) => requireLease(ctx, tx, actor, token))
  if (lease.kind !== 'ingest') throw new AppError('lease_lost', { token })
  await receiveFiles(ctx, { projectId: lease.projectId, token: lease.token, batch: upload.batch, files: upload.files })
}
