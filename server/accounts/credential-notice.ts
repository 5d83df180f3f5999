import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, sendMail } from '../platform/mail/mail.ts'

/** Tells the owner of an account that something that opens it was changed (ASVS 6.3.7), in the change's transaction; `said` is a sentence. */
export async function noticeCredentialChange(
  ctx: Context,
  tx: Db,
  account: { email: string },
  actor: Pick<Actor, 'ip'>,
  said: string,
): Promise<void> {
  const from = actor.ip === null ? '' : `, from the network ${actor.ip}`
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'A change to how you sign in',
    kind: 'credential_changed',
    text: mailText(ctx, [
      `${said} This was at ${isoTime(ctx.clock.now())}${from}.`,
      'If that was you, there is nothing to do. If not: reset your password, end all other sessions, and look at your API keys and passkeys.',
    ]),
  })
}
