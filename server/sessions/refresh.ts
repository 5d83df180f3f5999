import type { Tokens } from '@hivesync/contracts/sessions.ts'
import { type Account, findAccount } from '../accounts/accounts.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { idleLifetimeMs } from './login.ts'
import { lockSession, rotateRefreshToken, type SessionRow, setSessionRevoked } from './queries.ts'
import { isGenuine, parseRefreshToken, type RefreshToken, successorOf } from './refresh-token.ts'
import { issueTokens } from './tokens.ts'

/** How long the token just replaced still gives its successor: tabs that refresh at once all get the same one (requirement A5). */
const identicalReplyMs = 10_000

type Outcome =
  | { verdict: 'rotated' | 'repeated'; session: SessionRow; account: Account }
  | { verdict: 'reused' | 'refused' }

/**
 * Exchanges a refresh token for its successor. The one just replaced gives the same successor for 10 s; any other token that
 * we once gave out means that two parties hold the session's tokens, and ends it, though the request fails.
 */
export async function refresh(ctx: Context, actor: Actor, body: { refreshToken: string }): Promise<Tokens> {
  const presented = parseRefreshToken(body.refreshToken)
  if (presented === undefined) throw new AppError('invalid_refresh_token')
  const successor = successorOf(ctx.keyring, presented)
  const outcome = await ctx.db.transaction((tx) => exchange(ctx, tx, actor, presented, successor))
  // A refresh moves the idle limit, a reuse ends the session: what is remembered of it is out of date.
  if (outcome.verdict === 'rotated' || outcome.verdict === 'reused') ctx.bus.publish('identity')
  if (!('session' in outcome)) throw new AppError('invalid_refresh_token')
  return issueTokens(ctx, outcome.account, outcome.session, successor)
}

async function exchange(
  ctx: Context,
  tx: Db,
  actor: Actor,
  presented: RefreshToken,
  successor: string,
): Promise<Outcome> {
  const now = ctx.clock.now()
  const successorHash = sha256Hex(successor)
  const rotated = await rotateRefreshToken(tx, {
    sessionId: presented.sessionId,
    presentedHash: presented.hash,
    successorHash,
    counter: presented.counter + 1,
    now,
    idleExpiresAt: now + idleLifetimeMs,
  })
  if (rotated !== undefined) return withAccount(tx, 'rotated', rotated)

  const session = await lockSession(tx, presented.sessionId)
  if (session === undefined) return { verdict: 'refused' }
  const isPrevious = session.previousRefreshHash === presented.hash
  if (!isPrevious && session.refreshHash !== presented.hash && !isGenuine(ctx.keyring, presented))
    return { verdict: 'refused' }
  const isLive = session.revokedAt === null && session.expiresAt > now && session.idleExpiresAt > now
  if (!isLive || session.refreshHash === presented.hash) return refuse(ctx, tx, actor, session)
  // The distance, not the difference: a step back of the clock must not hold the window open.
  if (isPrevious && Math.abs(now - session.rotatedAt) <= identicalReplyMs) {
    // After a change of secrets the successor can no longer be made again; the other tab has it.
    if (session.refreshHash !== successorHash) return refuse(ctx, tx, actor, session)
    return withAccount(tx, 'repeated', session)
  }
  return endReusedSession(ctx, tx, actor, session, now)
}

async function withAccount(tx: Db, verdict: 'rotated' | 'repeated', session: SessionRow): Promise<Outcome> {
  const account = await findAccount(tx, session.userId)
  if (account === undefined || account.deactivatedAt !== null) return { verdict: 'refused' }
  return { verdict, session, account }
}

async function refuse(ctx: Context, tx: Db, actor: Actor, session: SessionRow): Promise<Outcome> {
  const target = { kind: 'session', id: session.id }
  await recordAudit(ctx, tx, actor, { action: 'session.refresh_refused', outcome: 'refused', target })
  return { verdict: 'refused' }
}

async function endReusedSession(
  ctx: Context,
  tx: Db,
  actor: Actor,
  session: SessionRow,
  now: number,
): Promise<Outcome> {
  await setSessionRevoked(tx, session.userId, session.id, now, 'refresh_reused')
  const target = { kind: 'session', id: session.id }
  await recordAudit(ctx, tx, actor, { action: 'session.refresh_reused', outcome: 'refused', target })
  const payload = { sessionId: session.id, userId: session.userId }
  await enqueueEvent(ctx, tx, { topic: 'session.refresh_reused', teamId: null, payload })
  return { verdict: 'reused' }
}
