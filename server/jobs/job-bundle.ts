import type { NewJob } from '@hivesync/contracts/jobs.ts'
import { holdBundle } from '../bundles/bundles.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { policy } from './policy.ts'

/** Keeps the bundle that a submission names until its job has ended, in the transaction that stores the job; refuses one that is not the project's. */
export async function holdBundleOf(ctx: Context, tx: Db, projectId: string, submission: NewJob): Promise<void> {
  if (submission.kind !== 'compute' || submission.input.bundle === undefined) return
  const ttlMs = (submission.ttlSeconds ?? policy.defaultTtlSeconds) * 1000
  await holdBundle(ctx, tx, { projectId, bundleId: submission.input.bundle, expiresAt: ctx.clock.now() + ttlMs })
}
