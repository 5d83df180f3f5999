import type { Session } from '@hivesync/contracts/sessions.ts'
import { recordAudit } from '../audit/audit.ts'
import { pendingPurposes } from '../mfa/mfa.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { revokeOneTimeTokens } from '../platform/one-time-tokens.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { type RevocationEffect, revoking } from '../platform/revocation.ts'
import { forgetDevices } from './known-devices.ts'
import { listSessionRows, setSessionRevoked, setSessionsRevoked } from './queries.ts'
import { toSession } from './tokens.ts'

export { createTokenAuthenticator, type TokenAuthenticator } from './authenticate.ts'
export { completeMfa, startMfaPasskey } from './complete-mfa.ts'
export { pruneProofs, readOfferedKey, requireDeviceKey } from './device-proof.ts'
export { type Client, type Proof, passGate, readClient } from './gate.ts'
export { requireLiveSession } from './live-session.ts'
export { logIn } from './login.ts'
export { logInWithPasskey } from './passkey-login.ts'
export { pruneSessions } from './prune.ts'
export { refresh } from './refresh.ts'
export { getKeySet } from './signing-keys.ts'
export { tendSigningKeys } from './tend-keys.ts'
export { createUseMarks, type UseMarks } from './use-marks.ts'

/** Ends the current session; its access and refresh tokens are refused from the next request on. */
export async function logOut(ctx: Context, actor: Actor): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  await revoking(ctx, actor, async (tx, revoke) => {
    // Revoked by somebody else at the same moment: what was asked for is so.
    if (!(await setSessionRevoked(tx, userId, sessionId, ctx.clock.now(), 'logged_out'))) return
    await revoke({})
    await recordAudit(ctx, tx, actor, { action: 'session.ended', target: { kind: 'session', id: sessionId } })
  })
}

/** The live sessions of the person, newest first. */
export async function listSessions(
  ctx: Context,
  actor: Actor,
  query: { limit?: string; cursor?: string },
): Promise<{ items: Session[]; nextCursor: string | null }> {
  const { userId, sessionId } = requireSession(actor)
  const request = pageRequest(query)
  return toPage(
    await listSessionRows(ctx.db.kysely, userId, ctx.clock.now(), request),
    request,
    (row) => row.id,
    (row) => toSession(row, sessionId),
  )
}

/** Ends one live session of the person, which may be the current one. */
export async function revokeSession(ctx: Context, actor: Actor, sessionId: string): Promise<void> {
  const { userId } = requireSession(actor)
  await revoking(ctx, actor, async (tx, revoke) => {
    if (!(await setSessionRevoked(tx, userId, sessionId, ctx.clock.now(), 'revoked')))
      throw new AppError('session_not_found', { sessionId })
    await revoke({})
    await recordAudit(ctx, tx, actor, { action: 'session.revoked', target: { kind: 'session', id: sessionId } })
  })
}

/** Ends every session of the person but the current one. */
export async function revokeOtherSessions(ctx: Context, actor: Actor): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  await revoking(ctx, actor, async (tx, revoke) => {
    const count = await setSessionsRevoked(tx, userId, sessionId, ctx.clock.now(), 'revoked')
    // With them what they had begun: pending logins, devices let in.
    await revoke({ sessionsOf: [{ userId, exceptId: sessionId, reason: 'revoked' }] })
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'session.others_revoked', target, details: { count } })
  })
}

/** What falls with revoked rights here: the sessions named, every login and proof that is under way, and after a reset the trust in the person's devices. */
export const endSessions: RevocationEffect = {
  name: 'sessions',
  async apply(ctx, tx, _actor, { sessionsOf = [] }) {
    for (const { userId, exceptId, reason } of sessionsOf) {
      await setSessionsRevoked(tx, userId, exceptId, ctx.clock.now(), reason)
      await revokeOneTimeTokens(tx, userId, pendingPurposes)
      if (exceptId === null) await forgetDevices(tx, userId)
    }
    return undefined
  },
}
