import { lockAccount } from '../accounts/accounts.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'

async function isSessionLive(ctx: Context, tx: Db, sessionId: string): Promise<boolean> {
  const now = ctx.clock.now()
  const session = tx
    .selectFrom('sessions')
    .select('id')
    .where('id', '=', sessionId)
    .where('revokedAt', 'is', null)
    .where('expiresAt', '>', now)
    .where('idleExpiresAt', '>', now)
  return (await forUpdate(tx, session).executeTakeFirst()) !== undefined
}

/**
 * Holds the actor's account and session until the transaction ends, or refuses with `session_revoked`: who takes an intruder's sessions away, or
 * an account, must not find anything of theirs afterwards that was under way.
 */
export async function requireLiveSession(ctx: Context, tx: Db, actor: Actor): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  // The account first, as whoever ends its sessions locks them: else each could wait for the other.
  const account = await lockAccount(tx, userId)
  if (account === undefined || !(await isSessionLive(ctx, tx, sessionId))) throw new AppError('session_revoked')
}
