import { findAccount } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, sendMail } from '../platform/mail/mail.ts'

/** Tells a person that somebody entered the right first factor and then so many codes in a row (ASVS 6.3.5): the password is known to somebody. */
export async function noticeGuessing(ctx: Context, tx: Db, userId: string, codes: number): Promise<void> {
  const account = await findAccount(tx, userId)
  if (account === undefined) return
  const target = { kind: 'user', id: userId }
  await recordAudit(ctx, tx, system, { action: 'factor.guessed', outcome: 'refused', target, details: { codes } })
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'Somebody is guessing the codes of your authenticator app',
    kind: 'codes_guessed',
    text: mailText(ctx, [
      `Somebody signed in to your account up to the second factor and entered ${codes} codes in a row. Whoever does that knows your password.`,
      'If that was not you: change your password now. After 100 wrong codes the app only counts on devices you have signed in from before; recovery codes and passkeys always do.',
    ]),
  })
}
