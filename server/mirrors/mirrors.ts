import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { findMirrorRow, getTeamOf, type Mirror, putMirror } from './queries.ts'

export type { Mirror } from './queries.ts'

export interface Publication {
  projectId: string
  /** Fencing token of the attempt that built the index. */
  token: number
  repository: string
  commit: string
  branch: string | null
  files: number
  bytes: number
}

/** What the project's search serves now; undefined before its first ingest. */
export function findMirror(db: Db, projectId: string): Promise<Mirror | undefined> {
  return findMirrorRow(db, projectId)
}

/**
 * Makes the attempt's index the one that is served, in the transaction that completes its job: both become true at the
 * same commit, or neither. Returns the token it replaced, whose index the caller drops after the commit; null if none.
 */
export async function publishMirror(
  ctx: Context,
  tx: Db,
  actor: Actor,
  publication: Publication,
): Promise<number | null> {
  const { projectId, token, repository, commit, branch, files, bytes } = publication
  await lockIndex(tx, token)
  const previous = await findMirrorRow(tx, projectId)
  const syncedAt = ctx.clock.now()
  await putMirror(tx, { projectId, repository, commitId: commit, branch, indexToken: token, files, bytes, syncedAt })
  await recordAudit(ctx, tx, actor, {
    action: 'mirror.synced',
    target: { kind: 'project', id: projectId },
    teamId: await getTeamOf(tx, projectId),
    projectId,
    details: { commit, branch, token, files, bytes },
  })
  return previous === undefined || previous.indexToken === token ? null : previous.indexToken
}

/** Lets a batch and the publication of its index happen only one after the other, so that nothing is added to a served index. */
export function lockIndex(tx: Db, token: number): Promise<void> {
  return withLock(tx, `search-index:${token}`)
}
