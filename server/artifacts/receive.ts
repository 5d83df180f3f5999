import type { DeclaredArtifact } from '@hivesync/contracts/artifacts.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import type { Statement } from '../platform/db/statement.ts'
import { AppError } from '../platform/errors.ts'
import type { StoredObject } from '../platform/store/store.ts'
import { discardObjects, takeStorage } from '../storage/storage.ts'
import { findOfLease, insertArtifacts, listOfLease, setCommitted, setContent } from './queries.ts'

export interface HeldLease {
  token: number
  jobId: string
  projectId: string
  teamId: string
}
/** Runs something with the lease held, or refuses with `lease_lost`: an upload takes long, so each step asks anew. */
export type Fenced = <T>(act: (tx: Db, lease: HeldLease) => Promise<T>) => Promise<T>

const keptForMs = 30 * 86_400_000
/** Of one attempt; with paths of 400 characters a listing of more would be of no use to anybody. */
const maxFiles = 10_000

/**
 * Counts the files that an attempt will upload against the team's storage, all or none (`storage_full`). What was declared before is answered alike; the same path with another size or
 * digest is refused, for a declaration is a promise about bytes.
 */
export async function declareArtifacts(ctx: Context, tx: Db, lease: HeldLease, files: readonly DeclaredArtifact[]) {
  requirePaths(files)
  const known = new Map((await listOfLease(tx, lease.token)).map((row) => [row.path, row]))
  const now = ctx.clock.now()
  const { token, jobId, projectId, teamId } = lease
  const fresh = []
  for (const { path, bytes, sha256 } of files) {
    const earlier = known.get(path)
    if (earlier === undefined) {
      const place = { id: ctx.random.id(), projectId, teamId, jobId, token, state: 'pending' as const }
      fresh.push({ ...place, path, objectKey: null, bytes, sha256, createdAt: now, expiresAt: now + keptForMs })
    } else if (earlier.bytes !== bytes || earlier.sha256 !== sha256) throw new AppError('artifact_conflict', { token })
  }
  if (known.size + fresh.length > maxFiles)
    throw new AppError('invalid_request', {}, { detail: `An attempt leaves at most ${maxFiles} files behind` })
  await insertArtifacts(tx, fresh)
  const bytes = fresh.reduce((sum, row) => sum + row.bytes, 0)
  if (fresh.length > 0) await takeStorage(tx, teamId, bytes)
  const ids = new Map([...known.values(), ...fresh].map(({ path, id }) => [path, id]))
  return {
    artifacts: files.map(({ path }) => {
      const id = ids.get(path) ?? ''
      return { id, path, url: `/api/v1/worker/leases/${token}/artifacts/${id}/content` }
    }),
  }
}

function requirePaths(files: readonly DeclaredArtifact[]): void {
  const seen = new Set<string>()
  for (const [index, { path }] of files.entries()) {
    // A lone surrogate is stored as another character, and the path would not be the one that was declared.
    const message = seen.has(path) ? 'is named twice' : path.isWellFormed() ? undefined : 'is no text'
    if (message !== undefined)
      throw new AppError('invalid_request', {}, { fields: [{ path: `body/artifacts/${index}/path`, message }] })
    seen.add(path)
  }
}

/**
 * Takes in the bytes of a declared file. They are there for nobody before the lease completes, and for nobody at all unless they are exactly those declared and the lease is still
 * held when the last of them has come; sent twice, also at once, they are kept once.
 */
export async function receiveArtifact(
  ctx: Context,
  fenced: Fenced,
  artifactId: string,
  content: AsyncIterable<Uint8Array>,
): Promise<void> {
  const declared = await fenced((tx, lease) => findOfLease(tx, lease.token, artifactId))
  if (declared === undefined) throw new AppError('artifact_not_found', { artifactId })
  const stored = await take(ctx, content, declared.bytes)
  let isKept = false
  try {
    if (stored.bytes !== declared.bytes || stored.sha256 !== declared.sha256) throw mismatch()
    isKept = await fenced((tx, lease) => setContent(tx, lease.token, artifactId, stored.key))
  } finally {
    if (!isKept) await discardObjects(ctx, [stored.key])
  }
}

async function take(ctx: Context, content: AsyncIterable<Uint8Array>, maxBytes: number): Promise<StoredObject> {
  try {
    return await ctx.store.put(content, { maxBytes })
  } catch (error) {
    throw error instanceof AppError && error.code === 'payload_too_large' ? mismatch() : error
  }
}

function mismatch(): AppError {
  return new AppError('artifact_mismatch', {}, { detail: 'Size and digest must be those that were declared' })
}

/** The statement that makes what the attempts uploaded visible, in the transaction that accepts their completions: both become true at the same commit, or neither. */
export function commitArtifacts(ctx: Context, tokens: readonly number[]): Statement {
  return setCommitted(tokens, ctx.clock.now() + keptForMs)
}
