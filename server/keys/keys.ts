import type { Scope } from '@hivesync/contracts/access.ts'
import type { ApiKey, NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { requireProject } from '../projects/projects.ts'
import { generateApiKey } from './key-format.ts'
import { type ApiKeyRow, insertApiKey, listApiKeyRows, setApiKeyRevoked } from './queries.ts'
import { parseScopes } from './scopes.ts'

export { createKeyAuthenticator } from './authenticate.ts'
export { type BearerAuthenticator, createBearerAuthenticator } from './bearer.ts'
export { importPharosToken } from './pharos.ts'

/** An expiry further away is a key that nobody remembers: a year and some days to renew it. */
const maxLifetimeMs = 400 * 24 * 60 * 60 * 1000

interface KeyRequest {
  name: string
  scopes: Scope[]
  projectId?: string
  expiresAt?: string
}

/**
 * Makes a key that can do no more than its maker, now and later: its rights are looked up with the maker's at each request.
 * The key itself is in this answer and nowhere else; stored is its SHA-256.
 */
export async function createApiKey(ctx: Context, actor: Actor, body: KeyRequest): Promise<NewApiKey> {
  const userId = requireUser(actor)
  const now = ctx.clock.now()
  const expiresAt = readExpiry(body.expiresAt, now)
  if (body.scopes.includes('admin') && !actor.isAdmin)
    throw new AppError('permission_denied', {}, { detail: 'Only an admin may make a key with the scope admin' })
  const { apiKey, prefix } = generateApiKey(ctx.random)
  const row = await ctx.db.transaction(async (tx) => {
    const project =
      body.projectId === undefined ? undefined : await requireProject(tx, actor, body.projectId, 'projects:read')
    const inserted = await insertApiKey(tx, {
      id: ctx.random.id(),
      userId,
      projectId: project?.id ?? null,
      name: body.name.normalize('NFC'),
      prefix,
      secretHash: sha256Hex(apiKey),
      scopes: JSON.stringify(body.scopes),
      createdAt: now,
      expiresAt,
    })
    await recordAudit(ctx, tx, actor, {
      action: 'api_key.created',
      target: { kind: 'api_key', id: inserted.id },
      teamId: project?.teamId ?? null,
      projectId: inserted.projectId,
      details: { scopes: body.scopes.join(' '), expiresAt },
    })
    return inserted
  })
  ctx.bus.publish('identity')
  return { ...toApiKey(row), apiKey }
}

/** The live keys of the person, newest first. */
export async function listApiKeys(
  ctx: Context,
  actor: Actor,
  query: { limit?: string; cursor?: string },
): Promise<{ items: ApiKey[]; nextCursor: string | null }> {
  const request = pageRequest(query)
  const rows = await listApiKeyRows(ctx.db.kysely, requireUser(actor), ctx.clock.now(), request)
  return toPage(rows, request, (row) => row.id, toApiKey)
}

/** Revokes a key of the person; its next request is refused. */
export async function revokeApiKey(ctx: Context, actor: Actor, apiKeyId: string): Promise<void> {
  const userId = requireUser(actor)
  await ctx.db.transaction(async (tx) => {
    const revoked = await setApiKeyRevoked(tx, userId, apiKeyId, ctx.clock.now())
    if (revoked === undefined) throw new AppError('api_key_not_found', { apiKeyId })
    const target = { kind: 'api_key', id: apiKeyId }
    await recordAudit(ctx, tx, actor, { action: 'api_key.revoked', target, projectId: revoked.projectId })
  })
  ctx.bus.publish('identity')
}

// The contracts let only sessions in; a key that makes keys would outlive its own revocation.
function requireUser(actor: Actor): string {
  if (actor.kind !== 'user' || actor.userId === null) throw new AppError('permission_denied')
  return actor.userId
}

function readExpiry(text: string | undefined, now: number): number | null {
  if (text === undefined) return null
  const expiresAt = Date.parse(text)
  if (expiresAt > now && expiresAt <= now + maxLifetimeMs) return expiresAt
  const message = 'must be in the future and at most 400 days away'
  throw new AppError('invalid_request', {}, { fields: [{ path: 'body/expiresAt', message }] })
}

function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: parseScopes(row.scopes),
    projectId: row.projectId,
    createdAt: isoTime(row.createdAt),
    expiresAt: isoTime(row.expiresAt),
    lastUsedAt: isoTime(row.lastUsedAt),
  }
}
