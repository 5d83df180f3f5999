import type { Artifact } from '@hivesync/contracts/artifacts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { discardObjects, returnStorage } from '../storage/storage.ts'
import { type ArtifactRow, deleteDead, findVisible, isVisibleJob, listCommitted } from './queries.ts'
import { signedTarget } from './signed-link.ts'

export { deleteArtifactsOf } from './queries.ts'
export { commitArtifacts, declareArtifacts, type HeldLease, receiveArtifact } from './receive.ts'

const linkSeconds = 5 * 60
const batch = 200

/** What a job's completed attempts left behind, first to last. */
export async function listArtifacts(
  ctx: Context,
  actor: Actor,
  jobId: string,
  query: { limit?: string; cursor?: string },
): Promise<Page<Artifact>> {
  const db = ctx.db.kysely
  if (!(await isVisibleJob(db, actor, jobId))) throw new AppError('job_not_found', { jobId })
  const request = pageRequest(query)
  return toPage(await listCommitted(db, jobId, ctx.clock.now(), request), request, (row) => row.id, toArtifact)
}

/**
 * A link with which anybody may fetch this artifact by this method for five minutes. It stands on its own from then on, as one of an object store would: it
 * dies with its time, or with the artifact.
 */
export async function createArtifactUrl(
  ctx: Context,
  actor: Actor,
  artifactId: string,
  method: 'GET' | 'HEAD',
): Promise<{ url: string; expiresAt: string }> {
  const expires = Math.floor(ctx.clock.now() / 1000) + linkSeconds
  await ctx.db.transaction(async (tx) => {
    const artifact = await findVisible(tx, actor, artifactId, ctx.clock.now())
    if (artifact === undefined) throw new AppError('artifact_not_found', { artifactId })
    await recordAudit(ctx, tx, actor, {
      action: 'artifact.url_created',
      target: { kind: 'artifact', id: artifactId },
      teamId: artifact.teamId,
      projectId: artifact.projectId,
      details: { jobId: artifact.jobId, method },
    })
  })
  const target = signedTarget(ctx.keyring, { artifactId, method, expires })
  return { url: ctx.config.publicUrl + target, expiresAt: isoTime(expires * 1000) }
}

/** Removes what has expired, and what was uploaded under leases that ended without completing; their bytes go back to the teams. */
export async function sweepArtifacts(ctx: Context): Promise<number> {
  let removed = 0
  for (;;) {
    const dead = await ctx.db.transaction(async (tx) => {
      const rows = await deleteDead(tx, ctx.clock.now(), batch)
      await returnStorage(tx, rows)
      return rows
    })
    await discardObjects(
      ctx,
      dead.map(({ objectKey }) => objectKey),
    )
    removed += dead.length
    if (dead.length < batch) return removed
  }
}

function toArtifact(row: ArtifactRow & { attempt: number }): Artifact {
  const { id, jobId, attempt, path, bytes, sha256 } = row
  return {
    id,
    jobId,
    attempt,
    path,
    bytes,
    sha256,
    createdAt: isoTime(row.createdAt),
    expiresAt: isoTime(row.expiresAt),
  }
}
