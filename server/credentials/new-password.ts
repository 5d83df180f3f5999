import { isShort, noticeCredentialChange, preparePassword } from '../accounts/accounts.ts'
import { hasSecondFactor } from '../mfa/mfa.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { revokeOneTimeTokens } from '../platform/one-time-tokens.ts'
import { setPasswordHash } from './queries.ts'

export interface NewPassword {
  readonly passwordHash: string
  readonly isShort: boolean
}

/** Judges a new password of an account and hashes it (requirement A2); refuses with `weak_password`. Call it outside transactions. */
export async function judgePassword(
  ctx: Context,
  account: { id: string; email: string; username: string },
  password: string,
): Promise<NewPassword> {
  const rules = { hasSecondFactor: await hasSecondFactor(ctx.db.kysely, account.id), field: 'newPassword' }
  const { email, username } = account
  const passwordHash = await preparePassword(ctx, { email, username, password }, rules)
  return { passwordHash, isShort: isShort(password) }
}

/**
 * Gives the account, which the transaction has locked, a new password: every link, pending login, challenge and proof of it is worthless,
 * and its owner is told.
 */
export async function storePassword(
  ctx: Context,
  tx: Db,
  actor: Actor,
  account: { id: string; email: string },
  password: NewPassword,
  said: string,
): Promise<void> {
  // The factor that it was judged beside may have been removed while it was hashed.
  if (password.isShort && !(await hasSecondFactor(tx, account.id))) {
    const detail = 'The password must have at least 15 characters'
    throw new AppError('weak_password', {}, { detail })
  }
  const passwordShortAt = password.isShort ? ctx.clock.now() : null
  await setPasswordHash(tx, account.id, { passwordHash: password.passwordHash, passwordShortAt })
  await revokeOneTimeTokens(tx, account.id)
  await noticeCredentialChange(ctx, tx, account, actor, said)
}
