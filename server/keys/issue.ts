import type { Scope } from '@hivesync/contracts/access.ts'
import { type ApiKey, defaultKeyLimit, type NewApiKey } from '@hivesync/contracts/api-keys.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { type ProjectAccess, requireProject } from '../projects/projects.ts'
import { environmentOf, generateApiKey, keyEnvironmentOf } from './key-format.ts'
import { type ApiKeyRow, insertApiKey } from './queries.ts'
import { parseScopes } from './scopes.ts'

/** What a new key may do and for how long. */
export interface Grant {
  name: string
  scopes: readonly Scope[]
  projectId: string | null
  rateLimitPerHour: number
  expiresAt: number
  /** The first of the keys that rotation made of one another; null for a key that is the first itself. */
  rootId: string | null
}

/** A key not yet stored: made before the transaction, which may be tried again. */
export interface KeyDraft {
  readonly id: string
  readonly apiKey: string
  readonly prefix: string
}

export function draftKey(ctx: Context): KeyDraft {
  return { id: ctx.random.id(), ...generateApiKey(ctx.random, keyEnvironmentOf(ctx.config)) }
}

// The contracts let only sessions in; a key that makes keys would outlive its own revocation.
export function requirePerson(actor: Actor): { userId: string; sessionId: string } {
  const { userId, sessionId } = actor
  if (actor.kind !== 'user' || userId === null || sessionId === null) throw new AppError('permission_denied')
  return { userId, sessionId }
}

/** Stores a key of the actor that can do no more than the actor may now; stored is its SHA-256. */
export async function issueKey(
  ctx: Context,
  tx: Db,
  actor: Actor,
  draft: KeyDraft,
  grant: Grant,
): Promise<{ key: NewApiKey; project: ProjectAccess | undefined }> {
  const { userId } = requirePerson(actor)
  for (const scope of ['admin', 'metrics'] as const) {
    if (grant.scopes.includes(scope) && !actor.isAdmin)
      throw new AppError('permission_denied', {}, { detail: `Only an admin may make a key with the scope ${scope}` })
  }
  const project =
    grant.projectId === null ? undefined : await requireProject(tx, actor, grant.projectId, 'projects:read')
  const row = await insertApiKey(tx, {
    id: draft.id,
    userId,
    projectId: project?.id ?? null,
    name: grant.name,
    prefix: draft.prefix,
    secretHash: sha256Hex(draft.apiKey),
    scopes: JSON.stringify(grant.scopes),
    createdAt: ctx.clock.now(),
    expiresAt: grant.expiresAt,
    rateLimitPerHour: grant.rateLimitPerHour,
    rootId: grant.rootId,
  })
  return { key: { ...toApiKey(row), apiKey: draft.apiKey }, project }
}

export function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    environment: environmentOf(row.prefix),
    scopes: parseScopes(row.scopes),
    projectId: row.projectId,
    rateLimitPerHour: row.rateLimitPerHour ?? defaultKeyLimit,
    replacedBy: row.replacedBy,
    createdAt: isoTime(row.createdAt),
    expiresAt: isoTime(row.expiresAt),
    lastUsedAt: isoTime(row.lastUsedAt),
  }
}
