import type { Session } from '@hivesync/contracts/sessions.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { listSessionRows, setOtherSessionsRevoked, setSessionRevoked } from './queries.ts'
import { toSession } from './tokens.ts'

export { createTokenAuthenticator, type TokenAuthenticator } from './authenticate.ts'
export { logIn } from './login.ts'
export { refresh } from './refresh.ts'
export { getKeySet } from './signing-keys.ts'
export { createUseMarks, type UseMarks } from './use-marks.ts'

/** Ends the current session; its access and refresh tokens are refused from the next request on. */
export async function logOut(ctx: Context, actor: Actor): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    // Revoked by somebody else at the same moment: what was asked for is so.
    if (!(await setSessionRevoked(tx, userId, sessionId, ctx.clock.now(), 'logged_out'))) return
    await recordAudit(ctx, tx, actor, { action: 'session.ended', target: { kind: 'session', id: sessionId } })
  })
  ctx.bus.publish('identity')
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
  await ctx.db.transaction(async (tx) => {
    if (!(await setSessionRevoked(tx, userId, sessionId, ctx.clock.now(), 'revoked')))
      throw new AppError('session_not_found', { sessionId })
    await recordAudit(ctx, tx, actor, { action: 'session.revoked', target: { kind: 'session', id: sessionId } })
  })
  ctx.bus.publish('identity')
}

/** Ends every session of the person but the current one. */
export async function revokeOtherSessions(ctx: Context, actor: Actor): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    const count = await setOtherSessionsRevoked(tx, userId, sessionId, ctx.clock.now(), 'revoked')
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'session.others_revoked', target, details: { count } })
  })
  ctx.bus.publish('identity')
}

// The contracts let only sessions in; this turns that into types, and holds if one day a contract does not.
function requireSession(actor: Actor): { userId: string; sessionId: string } {
  const { userId, sessionId } = actor
  if (userId === null || sessionId === null) throw new AppError('permission_denied')
  return { userId, sessionId }
}
