import {
  type AccountWithHash,
  auditRefusal,
  findAccountWithPassword,
  lockAccount,
  verifyPassword,
} from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { passwordRule } from '../mfa/mfa.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { revoking } from '../platform/revocation.ts'
import { judgePassword, type NewPassword, storePassword } from './new-password.ts'

/**
 * Changes the password of whoever knows the current one (ASVS 6.2.3); every other session ends in the same commit. Of two changes at once one
 * succeeds: for the other the current password is no longer what it was. Wrong ones are throttled with those of step-ups.
 */
export function changePassword(
  ctx: Context,
  actor: Actor,
  body: { currentPassword: string; newPassword: string },
): Promise<void> {
  return auditRefusal(ctx, actor, 'account.password_changed', async () => {
    const { userId, sessionId } = requireSession(actor)
    const rule = passwordRule(sessionId)
    await reserveAttempt(ctx, [rule])
    const account = await findAccountWithPassword(ctx.db.kysely, userId)
    const stored = account?.passwordHash ?? null
    if (!(await verifyPassword(ctx, stored, body.currentPassword)) || account === undefined) throw wrongPassword()
    const password = await judgePassword(ctx, account, body.newPassword)
    await replace(ctx, actor, password, 'Your password was changed.', async (tx, live) => {
      if (live.passwordHash !== stored) throw wrongPassword()
      await forgiveAttempt(ctx, tx, { forget: [rule], uncount: [] })
    })
  })
}

/** Sets the password of an account that has none, such as one of a passkey or an external identity alone. */
export function setPassword(ctx: Context, actor: Actor, body: { newPassword: string }): Promise<void> {
  return auditRefusal(ctx, actor, 'account.password_set', async () => {
    const { userId } = requireSession(actor)
    const account = await findAccountWithPassword(ctx.db.kysely, userId)
    if (account === undefined) throw new AppError('user_not_found')
    // Before it is hashed, and again when nobody else can set one.
    requireNoPassword(account)
    const password = await judgePassword(ctx, account, body.newPassword)
    await replace(ctx, actor, password, 'A password was set for your account.', async (_tx, live) =>
      requireNoPassword(live),
    )
  })
}

async function replace(
  ctx: Context,
  actor: Actor,
  password: NewPassword,
  said: string,
  requireStill: (tx: Db, live: AccountWithHash) => Promise<void>,
): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  await revoking(ctx, actor, async (tx, revoke) => {
    const live = await lockAccount(tx, userId)
    if (live === undefined) throw new AppError('session_revoked')
    await requireStill(tx, live)
    await storePassword(ctx, tx, actor, live, password, said)
    await revoke({ sessionsOf: [{ userId, exceptId: sessionId, reason: 'password_changed' }] })
    const action = live.passwordHash === null ? 'account.password_set' : 'account.password_changed'
    await recordAudit(ctx, tx, actor, { action, target: { kind: 'user', id: userId } })
  })
}

function requireNoPassword(account: { passwordHash: string | null }): void {
  if (account.passwordHash !== null) throw new AppError('password_exists')
}

function wrongPassword(): AppError {
  return new AppError('step_up_failed', {}, { detail: 'The current password is wrong' })
}
