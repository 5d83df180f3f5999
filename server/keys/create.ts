import type { Scope } from '@hivesync/contracts/access.ts'
import { defaultKeyLimit, maxUnprivilegedKeyLimit, type NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { withLock } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { requireLiveSession } from '../sessions/sessions.ts'
import { draftKey, issueKey, requirePerson } from './issue.ts'
import { noticeNewKey } from './notices.ts'
import { countKeys } from './queries.ts'
import { tellTeam } from './tell-team.ts'

const dayMs = 24 * 60 * 60 * 1000
/** A key that nobody said an expiry for dies before it is forgotten. */
const defaultLifetimeMs = 90 * dayMs
/** An expiry further away is a key that nobody remembers: a year and some days to renew it. */
export const maxLifetimeMs = 400 * dayMs
/** Keys of a person that are live and not replaced: enough for every machine and script, few enough to look through. */
const maxKeys = 50

interface KeyRequest {
  name: string
  scopes: Scope[]
  projectId?: string
  expiresAt?: string
  rateLimitPerHour?: number
}

/**
 * Makes a key that can do no more than its maker, now and later: its rights are looked up with the maker's at each request.
 * The key itself is in this answer and nowhere else; stored is its SHA-256.
 */
export async function createApiKey(ctx: Context, actor: Actor, body: KeyRequest): Promise<NewApiKey> {
  const { userId } = requirePerson(actor)
  const now = ctx.clock.now()
  const expiresAt = readExpiry(body.expiresAt, now)
  const rateLimitPerHour = body.rateLimitPerHour ?? defaultKeyLimit
  if (rateLimitPerHour > maxUnprivilegedKeyLimit && !actor.isAdmin)
    throw new AppError('permission_denied', {}, { detail: 'Only an admin may make a key with so high a limit' })
  const draft = draftKey(ctx)
  const created = await ctx.db.transaction(async (tx) => {
    await requireLiveSession(ctx, tx, actor)
    // Of several at once each sees the others' keys: the ceiling is exact.
    await withLock(tx, `api-keys:${userId}`)
    if ((await countKeys(tx, userId, now)) >= maxKeys)
      throw new AppError('api_key_limit', {}, { detail: `You have ${maxKeys} live keys: revoke one first` })
    const { key, project } = await issueKey(ctx, tx, actor, draft, {
      name: body.name.normalize('NFC'),
      scopes: body.scopes,
      projectId: body.projectId ?? null,
      rateLimitPerHour,
      expiresAt,
      rootId: null,
    })
    await recordAudit(ctx, tx, actor, {
      action: 'api_key.created',
      target: { kind: 'api_key', id: key.id },
      teamId: project?.teamId ?? null,
      projectId: key.projectId,
      details: { scopes: body.scopes.join(' '), expiresAt, rateLimitPerHour },
    })
    await tellTeam(ctx, tx, 'api_key.created', key)
    await noticeNewKey(ctx, tx, actor, key)
    return key
  })
  ctx.bus.publish('identity')
  return created
}

function readExpiry(text: string | undefined, now: number): number {
  if (text === undefined) return now + defaultLifetimeMs
  const expiresAt = Date.parse(text)
  if (expiresAt > now && expiresAt <= now + maxLifetimeMs) return expiresAt
  const message = 'must be in the future and at most 400 days away'
  throw new AppError('invalid_request', {}, { fields: [{ path: 'body/expiresAt', message }] })
}
