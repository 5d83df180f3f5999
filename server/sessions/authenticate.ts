import { permissions } from '@hivesync/contracts/access.ts'
import type { Identity } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Base64url } from '../platform/crypto/hash.ts'
import { type AccessTokenClaims, TokenRefused, verifyAccessToken } from '../platform/crypto/token-signer.ts'
import { AppError } from '../platform/errors.ts'
import { createLiveRows, rememberIfAbsent } from '../platform/live-rows.ts'
import { toPlan } from '../tiers/tiers.ts'
import { findLiveSession, setSessionsSeen } from './queries.ts'
import { countWithdrawals, getAccessTokenKeys } from './signing-keys.ts'
import { tokenAudience } from './tokens.ts'
import { createUseMarks, type UseMarks } from './use-marks.ts'

const everyPermission = new Set(permissions)
/** A token is verified anew this often, and at once when a signing key was withdrawn: the key takes its tokens with it (reference T3). */
const verifyEveryMs = 60_000

/** What a verified token says, and nothing about rights: those come from the rows, at each request. */
interface VerifiedToken {
  readonly userId: string
  readonly sessionId: string
  readonly version: number
  readonly expiresAt: number
  readonly verifiedAt: number
  /** How many times a signing key had been withdrawn when it was verified. */
  readonly withdrawals: number
}

type LiveSession = NonNullable<Awaited<ReturnType<typeof loadSession>>>

async function loadSession(ctx: Context, sessionId: string) {
  const row = await findLiveSession(ctx.db.kysely, sessionId)
  if (row === undefined) return undefined
  const identity: Identity = {
    kind: 'user',
    id: row.userId,
    userId: row.userId,
    sessionId: row.id,
    projectId: null,
    isAdmin: row.adminSince !== null,
    permissions: everyPermission,
    ...toPlan(row),
  }
  return { ...row, identity, mark: { id: row.id, usedAt: row.lastSeenAt } }
}

export interface TokenAuthenticator {
  (token: string): Identity | Promise<Identity>
  readonly marks: UseMarks
}

/**
 * Turns access tokens into identities. The signature is verified once per token, its session and person are looked at on
 * each request: a logout, a revocation or a deactivation is effective on the next one. Throws a 401 refusal.
 */
export function createTokenAuthenticator(ctx: Context): TokenAuthenticator {
  const verified = new Map<string, VerifiedToken>()
  const sessions = createLiveRows(ctx, (sessionId) => loadSession(ctx, sessionId))
  const marks = createUseMarks(ctx, 'sessions', setSessionsSeen)

  function admit(token: VerifiedToken, session: LiveSession | undefined): Identity {
    if (session === undefined || !isLive(session, token, ctx.clock.now())) throw new AppError('session_revoked')
    marks.mark(session.mark)
    return session.identity
  }

  function check(hash: string, token: VerifiedToken): Identity | Promise<Identity> {
    if (token.expiresAt <= ctx.clock.now()) {
      verified.delete(hash)
      throw new AppError('token_expired')
    }
    const session = sessions(token.sessionId)
    return session instanceof Promise ? session.then((row) => admit(token, row)) : admit(token, session)
  }

  async function verify(hash: string, text: string): Promise<Identity> {
    // Counted before: a key withdrawn meanwhile makes the result worthless.
    const withdrawals = countWithdrawals(ctx)
    const token = toVerified(await verifyWithKeys(ctx, text), ctx.clock.now(), withdrawals)
    verified.delete(hash)
    rememberIfAbsent(verified, hash, token)
    return check(hash, token)
  }

  const authenticate = (text: string) => {
    const hash = sha256Base64url(text)
    const token = verified.get(hash)
    const isFresh =
      token !== undefined &&
      token.withdrawals === countWithdrawals(ctx) &&
      Math.abs(ctx.clock.now() - token.verifiedAt) < verifyEveryMs
    return isFresh ? check(hash, token) : verify(hash, text)
  }
  return Object.assign(authenticate, { marks })
}

function isLive(session: LiveSession, token: VerifiedToken, now: number): boolean {
  return (
    session.userId === token.userId &&
    session.tokenVersion === token.version &&
    session.revokedAt === null &&
    session.deactivatedAt === null &&
    session.expiresAt > now &&
    session.idleExpiresAt > now
  )
}

const toVerified = (claims: AccessTokenClaims, verifiedAt: number, withdrawals: number): VerifiedToken => ({
  userId: claims.sub,
  sessionId: claims.sid,
  version: claims.ver,
  expiresAt: claims.exp * 1000,
  verifiedAt,
  withdrawals,
})

async function verifyWithKeys(ctx: Context, text: string): Promise<AccessTokenClaims> {
  const expected = { issuer: ctx.config.publicUrl, audience: tokenAudience }
  const verifyNow = async (after?: 'unknown_key') => {
    const { keys } = await getAccessTokenKeys(ctx, after)
    return verifyAccessToken(text, { ...expected, keys, nowMs: ctx.clock.now() })
  }
  try {
    return await verifyNow().catch((error: unknown) => {
      // Another replica may have begun to sign with a key that was not there when this one looked.
      if (error instanceof TokenRefused && error.code === 'unknown_key') return verifyNow('unknown_key')
      throw error
    })
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error
    throw new AppError(error.code === 'expired' ? 'token_expired' : 'invalid_token', { reason: error.code })
  }
}
