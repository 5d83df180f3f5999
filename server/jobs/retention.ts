import { deleteArtifactsOf } from '../artifacts/artifacts.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdateSkipLocked, isOneOf } from '../platform/db/dialect.ts'
import { discardObjects, returnStorage } from '../storage/storage.ts'

const dayMs = 24 * 3_600_000
/** Jobs in one transaction: a log may have a quarter of a million pieces, and others write between. */
const atOnce = 20

/**
 * Forgets the output of jobs that ended longer ago than `HIVESYNC_LOG_RETENTION_DAYS` (30): one line in its place says so. Answers how many.
 */
export async function forgetLogs(ctx: Context): Promise<number> {
  const { logDays } = ctx.config.retention
  if (logDays === null) return 0
  const now = ctx.clock.now()
  return inBatches(async () =>
    ctx.db.transaction(async (tx) => {
      const jobs = await forUpdateSkipLocked(
        tx,
        tx
          .selectFrom('jobs')
          .select(['id', 'logSeq'])
          .where('finishedAt', '<', now - logDays * dayMs)
          .where('logBytes', '>', 0)
          .orderBy('finishedAt')
          .limit(atOnce),
      ).execute()
      for (const { id, logSeq } of jobs) await replaceLog(tx, id, logSeq, now, logDays)
      return jobs.length
    }),
  )
}

async function replaceLog(tx: Db, jobId: string, logSeq: number, now: number, days: number): Promise<void> {
  const last = await tx
    .selectFrom('jobLogs')
    .select('token')
    .where('jobId', '=', jobId)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  await tx.deleteFrom('jobLogs').where('jobId', '=', jobId).execute()
  await tx
    .updateTable('jobs')
    .set({ logBytes: 0, logSeq: logSeq + 1 })
    .where('id', '=', jobId)
    .execute()
  if (last === undefined) return
  const text = `The output was kept for ${days} days.\n`
  const line = { jobId, seq: logSeq, token: last.token, chunkSeq: 0, stream: 'system', at: now, text }
  await tx.insertInto('jobLogs').values(line).execute()
}

/**
 * Forgets jobs that ended longer ago than `HIVESYNC_JOB_RETENTION_DAYS` (90), with all that was written of them but the audit log, and what they left in the store. Fencing
 * tokens and idempotency go on: no number is given out twice, and a key that old may be used anew. Answers how many.
 */
export async function forgetJobs(ctx: Context): Promise<number> {
  const { jobDays } = ctx.config.retention
  if (jobDays === null) return 0
  const before = ctx.clock.now() - jobDays * dayMs
  return inBatches(async () => {
    const { count, keys } = await ctx.db.transaction((tx) => deleteEnded(tx, before))
    await discardObjects(ctx, keys)
    return count
  })
}

async function deleteEnded(tx: Db, before: number): Promise<{ count: number; keys: (string | null)[] }> {
  const found = tx.selectFrom('jobs').select('id').where('finishedAt', '<', before).orderBy('finishedAt').limit(atOnce)
  const ids = (await forUpdateSkipLocked(tx, found).execute()).map(({ id }) => id)
  if (ids.length === 0) return { count: 0, keys: [] }
  for (const table of ['jobLogs', 'jobEvents', 'jobSecrets', 'jobAttempts'] as const)
    await tx
      .deleteFrom(table)
      .where(isOneOf(tx, 'jobId', ids))
      .execute()
  const artifacts = await deleteArtifactsOf(tx, ids)
  await tx
    .deleteFrom('jobs')
    .where(isOneOf(tx, 'id', ids))
    .execute()
  // Last: it counts for the whole team.
  await returnStorage(tx, artifacts)
  return { count: ids.length, keys: artifacts.map(({ objectKey }) => objectKey) }
}

async function inBatches(act: () => Promise<number>): Promise<number> {
  for (let sum = 0; ; ) {
    const count = await act()
    sum += count
    if (count < atOnce) return sum
  }
}
