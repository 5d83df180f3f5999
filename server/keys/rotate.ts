import { defaultKeyLimit, maxUnprivilegedKeyLimit, type NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { type Revoke, revoking } from '../platform/revocation.ts'
import { requireLiveSession } from '../sessions/sessions.ts'
import { maxLifetimeMs } from './create.ts'
import { draftKey, type Grant, issueKey, requirePerson } from './issue.ts'
import { noticeNewKey } from './notices.ts'
import { lockLiveKey, type RotatedKey, setApiKeyReplaced, setApiKeyRevoked, setPredecessorsRevoked } from './queries.ts'
import { parseScopes } from './scopes.ts'
import { tellTeam } from './tell-team.ts'

const defaultOverlapSeconds = 24 * 60 * 60

/**
 * Makes the key that takes another's place: same name, scopes, project, limit and lifetime, and one limit for both. The old one lives
 * for the overlap, never longer than it would have; 0 ends it, and its jobs, at once. A key is replaced once: of several rotations at
 * once one wins, the others are refused. There are never more than two live keys of one: an overlap still open from an earlier rotation ends.
 */
export async function rotateApiKey(
  ctx: Context,
  actor: Actor,
  apiKeyId: string,
  { overlapSeconds = defaultOverlapSeconds }: { overlapSeconds?: number },
): Promise<NewApiKey> {
  const { userId } = requirePerson(actor)
  const draft = draftKey(ctx)
  return revoking(ctx, actor, async (tx, revoke) => {
    await requireLiveSession(ctx, tx, actor)
    const now = ctx.clock.now()
    const old = await lockLiveKey(tx, userId, apiKeyId, now)
    if (old === undefined) throw new AppError('api_key_not_found', { apiKeyId })
    if (old.replacedBy !== null) throw new AppError('api_key_rotated', { apiKeyId })
    const { key, project } = await issueKey(ctx, tx, actor, draft, successorOf(old, actor, now))
    const endsAt = now + overlapSeconds * 1000
    const expiresAt = old.expiresAt === null ? endsAt : Math.min(old.expiresAt, endsAt)
    await setApiKeyReplaced(tx, old.id, { replacedBy: key.id, expiresAt })
    await recordAudit(ctx, tx, actor, {
      action: 'api_key.rotated',
      target: { kind: 'api_key', id: old.id },
      teamId: project?.teamId ?? null,
      projectId: old.projectId,
      details: { replacedBy: key.id, overlapSeconds },
    })
    await tellTeam(ctx, tx, 'api_key.created', key)
    await noticeNewKey(ctx, tx, actor, key, old.prefix)
    await endOverlap(ctx, tx, actor, { userId, old, isOver: overlapSeconds === 0 }, revoke)
    return key
  })
}

/** What the new key may do: what the old one may, as far as the person may still give it. */
function successorOf(old: RotatedKey, actor: Actor, now: number): Grant {
  const lifetimeMs = old.expiresAt === null ? maxLifetimeMs : Math.min(old.expiresAt - old.createdAt, maxLifetimeMs)
  const limit = old.rateLimitPerHour ?? defaultKeyLimit
  return {
    name: old.name,
    scopes: parseScopes(old.scopes),
    projectId: old.projectId,
    rateLimitPerHour: actor.isAdmin ? limit : Math.min(limit, maxUnprivilegedKeyLimit),
    expiresAt: now + lifetimeMs,
    rootId: old.rootId ?? old.id,
  }
}

async function endOverlap(
  ctx: Context,
  tx: Db,
  actor: Actor,
  { userId, old, isOver }: { userId: string; old: RotatedKey; isOver: boolean },
  revoke: Revoke,
): Promise<void> {
  const now = ctx.clock.now()
  const ended = await setPredecessorsRevoked(tx, old.id, now)
  if (isOver && (await setApiKeyRevoked(tx, userId, old.id, now)) !== undefined) ended.push({ id: old.id })
  if (ended.length === 0) return
  for (const { id } of ended) {
    const target = { kind: 'api_key', id }
    await recordAudit(ctx, tx, actor, { action: 'api_key.revoked', target, projectId: old.projectId })
    await tellTeam(ctx, tx, 'api_key.revoked', { id, projectId: old.projectId })
  }
  await revoke({ apiKeys: ended.map(({ id }) => id) })
}
