import { Readable } from 'node:stream'
import type { DeclaredArtifact } from '@hivesync/contracts/artifacts.ts'
import { declareArtifacts as declare, receiveArtifact } from '../artifacts/artifacts.ts'
import { findBundle } from '../bundles/bundles.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { requireLease } from './lease.ts'
import type { LeaseRow } from './queries.ts'

/** Counts the files that a held lease will upload; see `declareArtifacts`. */
export function declareArtifacts(ctx: Context, actor: Actor, token: string, files: readonly DeclaredArtifact[]) {
  return fenced(ctx, actor, token, (tx, lease) => declare(ctx, tx, lease, files))
}

/** Takes in a declared file; the lease must be held when it begins and when it ends. */
export function uploadArtifact(
  ctx: Context,
  actor: Actor,
  token: string,
  artifactId: string,
  content: AsyncIterable<Buffer>,
): Promise<void> {
  return receiveArtifact(ctx, (act) => fenced(ctx, actor, token, act), artifactId, content)
}

/** The bundle of the job that a held lease runs, and how long it is. */
export async function openBundle(
  ctx: Context,
  actor: Actor,
  token: string,
): Promise<{ bytes: number; content: Readable }> {
  const bundle = await fenced(ctx, actor, token, async (tx, lease) => {
    const { input } = await tx
      .selectFrom('jobs')
      .select('input')
      .where('id', '=', lease.jobId)
      .executeTakeFirstOrThrow()
    const { bundle } = JSON.parse(input) as { bundle?: string }
    return bundle === undefined ? undefined : findBundle(tx, lease.projectId, bundle)
  })
  if (bundle === undefined) throw new AppError('bundle_not_found', { token })
  const content = await ctx.store.get(bundle.objectKey)
  return { bytes: bundle.bytes, content: Readable.from(content, { objectMode: false }) }
}

function fenced<T>(
  ctx: Context,
  actor: Actor,
  token: string,
  act: (tx: Db, lease: LeaseRow) => Promise<T>,
): Promise<T> {
  return ctx.db.transaction(async (tx) => act(tx, await requireLease(ctx, tx, actor, token)))
}
