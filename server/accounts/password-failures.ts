import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, sendMail } from '../platform/mail/mail.ts'

/**
 * Counts one more consecutive failure of an account's password, before it is checked; answers how many there are now. Without an account
 * the same statement runs over no row, so that its time tells nothing.
 */
export async function countPasswordFailure(ctx: Context, tx: Db, account: { id: string } | undefined): Promise<number> {
  const row = await tx
    .updateTable('users')
    .set((eb) => ({ passwordFailures: eb('passwordFailures', '+', 1) }))
    .where('id', '=', account?.id ?? ctx.random.id())
    .returning('passwordFailures')
    .executeTakeFirst()
  return row?.passwordFailures ?? 0
}

/** The password was right: the count begins anew. */
export async function forgivePasswordFailures(tx: Db, userId: string): Promise<void> {
  await tx.updateTable('users').set({ passwordFailures: 0 }).where('id', '=', userId).execute()
}

/**
 * Disables the password alone (NIST SP 800-63B-4 §3.2.2) and tells its owner, once: known devices, passkeys and the reset stay open, so
 * that it is no weapon against the owner (ASVS 6.1.1). Does nothing where there is no password, or no active account.
 */
export async function disablePassword(ctx: Context, tx: Db, account: { id: string; email: string }): Promise<void> {
  const disabled = await tx
    .updateTable('users')
    .set({ passwordDisabledAt: ctx.clock.now() })
    .where('id', '=', account.id)
    .where('passwordDisabledAt', 'is', null)
    .where('passwordHash', 'is not', null)
    .where('deactivatedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (disabled === undefined) return
  await recordAudit(ctx, tx, system, { action: 'account.password_disabled', target: { kind: 'user', id: account.id } })
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'Your password was disabled after many failed logins',
    kind: 'password_disabled',
    text: mailText(ctx, [
      'Somebody entered wrong passwords for your account 100 times in a row. The password no longer opens the account from devices it does not know.',
      'Devices you have signed in from before, and your passkeys, still work. To use the password everywhere again, set a new one with "Forgot password".',
    ]),
  })
}
