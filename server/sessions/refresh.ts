import type { Tokens } from '@hivesync/contracts/sessions.ts'
import { type Account, findAccount } from '../accounts/accounts.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { revoking } from '../platform/revocation.ts'
import { deviceProofMissing, readDeviceProof } from './device-proof.ts'
import { idleLifetimeMs } from './gate.ts'
import { lockSession, rotateRefreshToken, type SessionRow, setSessionRevoked } from './queries.ts'
import { isGenuine, parseRefreshToken, type RefreshToken, successorOf } from './refresh-token.ts'
import { issueTokens } from './tokens.ts'

/** How long the token just replaced still gives its successor: tabs that refresh at once all get the same one (requirement A5). */
const identicalReplyMs = 10_000

type Outcome =
  | { verdict: 'rotated' | 'repeated'; session: SessionRow; account: Account }
  | { verdict: 'reused'; session: SessionRow }
  | { verdict: 'refused' | 'unproven' }

interface Presented {
  token: RefreshToken
  successor: string
  /** The thumbprint of the key that the request proved; null without a proof. */
  deviceKey: string | null
}

/** The header `DPoP` and the request that it must have been made for. */
export interface RefreshProof {
  header: string | undefined
  method: string
  path: string
}

/**
 * Exchanges a refresh token for its successor. The one just replaced gives the same successor for 10 s; any other token that
 * we once gave out means that two parties hold the session's tokens, and ends it, though the request fails.
 *
 * A session bound to a device's key gives nothing without a proof of that key, whose `ath` is the presented token's hash, and takes no
 * harm either: a token given out under the key is worth nothing alone, so whoever stole one neither gets a successor nor ends the owner's
 * session. A session that is not bound is bound by the first refresh with a proof. That may have been a thief's: a token from before it,
 * used again, ends the session as if it had never been bound.
 */
export async function refresh(
  ctx: Context,
  actor: Actor,
  body: { refreshToken: string },
  proof: RefreshProof,
): Promise<Tokens> {
  const token = parseRefreshToken(body.refreshToken)
  if (token === undefined) throw new AppError('invalid_refresh_token')
  const deviceKey = proof.header === undefined ? null : await readProof(ctx, actor, token, proof)
  const presented = { token, successor: successorOf(ctx.keyring, token), deviceKey }
  const outcome = await ctx.db.transaction((tx) => exchange(ctx, tx, actor, presented))
  if (outcome.verdict === 'unproven') throw deviceProofMissing(proof.header)
  if (outcome.verdict === 'reused') await endReusedSession(ctx, actor, outcome.session)
  if (!('account' in outcome)) throw new AppError('invalid_refresh_token')
  // A refresh moves the idle limit: what is remembered of the session is out of date.
  if (outcome.verdict === 'rotated') ctx.bus.publish('identity')
  return issueTokens(ctx, outcome.account, outcome.session, presented.successor)
}

async function readProof(ctx: Context, actor: Actor, token: RefreshToken, proof: RefreshProof): Promise<string> {
  const { header, method, path } = proof
  return readDeviceProof(ctx, ctx.db.kysely, header, { method, path, token: token.text }).catch(async (error) => {
    // Only around a token that we made: strangers write nothing into the audit of a session.
    if (error instanceof AppError && isGenuine(ctx.keyring, token))
      await ctx.db.transaction((tx) => auditRefusal(ctx, tx, actor, 'session.proof_refused', token.sessionId))
    throw error
  })
}

async function exchange(ctx: Context, tx: Db, actor: Actor, presented: Presented): Promise<Outcome> {
  const now = ctx.clock.now()
  const { token, deviceKey } = presented
  const successorHash = sha256Hex(presented.successor)
  const rotated = await rotateRefreshToken(tx, {
    sessionId: token.sessionId,
    presentedHash: token.hash,
    successorHash,
    counter: token.counter + 1,
    now,
    idleExpiresAt: now + idleLifetimeMs,
    deviceKey,
  })
  if (rotated !== undefined) return withAccount(tx, 'rotated', rotated)

  const session = await lockSession(tx, token.sessionId)
  if (session === undefined) return { verdict: 'refused' }
  const isPrevious = session.previousRefreshHash === token.hash
  if (!isPrevious && session.refreshHash !== token.hash && !isGenuine(ctx.keyring, token)) return { verdict: 'refused' }
  const isLive = session.revokedAt === null && session.expiresAt > now && session.idleExpiresAt > now
  // The distance, not the difference: a step back of the clock must not hold the window open.
  const isRecent = isPrevious && Math.abs(now - session.rotatedAt) <= identicalReplyMs
  const isProven = session.deviceKey === null || session.deviceKey === deviceKey
  // Whoever is a moment late, while another tab has bound the session, ends nothing.
  const isFromBefore = token.counter < (session.deviceKeyFrom ?? 0) && !isRecent
  if (isLive && !isProven && !isFromBefore) {
    await auditRefusal(ctx, tx, actor, 'session.proof_refused', session.id)
    return { verdict: 'unproven' }
  }
  if (!isLive || session.refreshHash === token.hash) return refuse(ctx, tx, actor, session)
  if (isRecent) {
    // After a change of secrets the successor can no longer be made again; the other tab has it.
    if (session.refreshHash !== successorHash) return refuse(ctx, tx, actor, session)
    return withAccount(tx, 'repeated', session)
  }
  return { verdict: 'reused', session }
}

async function withAccount(tx: Db, verdict: 'rotated' | 'repeated', session: SessionRow): Promise<Outcome> {
  const account = await findAccount(tx, session.userId)
  if (account === undefined || account.deactivatedAt !== null) return { verdict: 'refused' }
  return { verdict, session, account }
}

async function refuse(ctx: Context, tx: Db, actor: Actor, session: SessionRow): Promise<Outcome> {
  await auditRefusal(ctx, tx, actor, 'session.refresh_refused', session.id)
  return { verdict: 'refused' }
}

function auditRefusal(ctx: Context, tx: Db, actor: Actor, action: string, sessionId: string): Promise<void> {
  return recordAudit(ctx, tx, actor, { action, outcome: 'refused', target: { kind: 'session', id: sessionId } })
}

/** That a token was used again stays true whatever happens meanwhile: it needs no lock from there to here. */
function endReusedSession(ctx: Context, actor: Actor, session: SessionRow): Promise<void> {
  return revoking(ctx, actor, async (tx, revoke) => {
    const hasEnded = await setSessionRevoked(tx, session.userId, session.id, ctx.clock.now(), 'refresh_reused')
    // Of several at once the first ends the session and raises the alert.
    if (!hasEnded) return auditRefusal(ctx, tx, actor, 'session.refresh_refused', session.id)
    await revoke({})
    await auditRefusal(ctx, tx, actor, 'session.refresh_reused', session.id)
    const payload = { sessionId: session.id, userId: session.userId }
    await enqueueEvent(ctx, tx, { topic: 'session.refresh_reused', teamId: null, payload })
    await noticeReuse(ctx, tx, session)
  })
}

/** Tells the person that two parties held one session's tokens (ASVS 6.3.5). */
async function noticeReuse(ctx: Context, tx: Db, session: SessionRow): Promise<void> {
  const account = await findAccount(tx, session.userId)
  if (account === undefined) return
  const device = session.deviceName === null ? 'an unnamed device' : quoted(session.deviceName)
  await sendMail(ctx, tx, {
    to: account.email,
    kind: 'refresh_reused',
    subject: 'A session of your account was ended for safety',
    text: mailText(ctx, [
      `A refresh token of your session on ${device} was used twice, at ${isoTime(ctx.clock.now())}: somebody may have copied it. That session was ended.`,
      'Sign in again. If other things look odd too, change your password, end all other sessions, and look at your API keys and passkeys.',
    ]),
  })
}
