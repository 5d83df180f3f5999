import { grantedBy } from '@hivesync/contracts/access.ts'
import { defaultKeyLimit, maxUnprivilegedKeyLimit } from '@hivesync/contracts/api-keys.ts'
import type { Identity } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { AppError } from '../platform/errors.ts'
import { createLiveRows } from '../platform/live-rows.ts'
import { createUseMarks, type UseMarks } from '../sessions/sessions.ts'
import { toPlan } from '../tiers/tiers.ts'
import { isApiKey, keyEnvironmentOf } from './key-format.ts'
import { findLiveKey, setApiKeysUsed } from './queries.ts'
import { parseScopes } from './scopes.ts'

type LiveKey = NonNullable<Awaited<ReturnType<typeof loadKey>>>

async function loadKey(ctx: Context, secretHash: string) {
  const row = await findLiveKey(ctx.db.kysely, secretHash)
  if (row === undefined) return undefined
  const scopes = parseScopes(row.scopes)
  const isOfAdmin = row.adminSince !== null && row.projectId === null
  const identity: Identity = {
    kind: 'key',
    id: row.id,
    userId: row.userId,
    sessionId: null,
    projectId: row.projectId,
    // Both, and both live: the scope outlives neither the owner's role nor the key. An admin's acts are on the whole: a key bound to one project reaches none.
    isAdmin: scopes.includes('admin') && isOfAdmin,
    isMonitor: scopes.includes('metrics') && isOfAdmin,
    permissions: grantedBy(scopes),
    ...toPlan(row),
    hourly: {
      group: row.rootId ?? row.id,
      // The operator's own key serves all of the old clients, which ask for the worker's status every few seconds.
      limit: row.rateLimitPerHour ?? (row.userId === null ? maxUnprivilegedKeyLimit : defaultKeyLimit),
    },
  }
  return { ...row, identity, mark: { id: row.id, usedAt: row.lastUsedAt } }
}

export interface KeyAuthenticator {
  (key: string): Identity | Promise<Identity>
  readonly marks: UseMarks
}

/**
 * Turns API keys into identities; the key and its owner are looked at on each request, so that a revocation or a
 * deactivation is effective on the next one. Throws a 401 refusal, the same for unknown, expired and revoked keys.
 */
export function createKeyAuthenticator(ctx: Context): KeyAuthenticator {
  const keys = createLiveRows(ctx, (secretHash) => loadKey(ctx, secretHash))
  const marks = createUseMarks(ctx, 'api_keys', setApiKeysUsed)
  const { pharosToken } = ctx.config
  const environment = keyEnvironmentOf(ctx.config)
  const operatorHash = pharosToken === null ? undefined : sha256Hex(pharosToken)

  function admit(key: LiveKey | undefined): Identity {
    if (key === undefined || !isLive(key, ctx.clock.now())) throw new AppError('invalid_token')
    marks.mark(key.mark)
    return key.identity
  }

  const authenticate = (text: string) => {
    const secretHash = sha256Hex(text)
    // Made-up texts never reach the database: only a key's checksum or the operator's own token opens the way.
    if (!isApiKey(text, environment) && secretHash !== operatorHash) throw new AppError('invalid_token')
    const key = keys(secretHash)
    return key instanceof Promise ? key.then(admit) : admit(key)
  }
  return Object.assign(authenticate, { marks })
}

function isLive(key: LiveKey, now: number): boolean {
  return key.revokedAt === null && key.deactivatedAt === null && (key.expiresAt === null || key.expiresAt > now)
}
