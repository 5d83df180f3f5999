import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'

/** Tells the person of a login from a device that was never seen before (requirement A6, ASVS 6.3.5); never of the first one. */
export async function noticeNewDevice(
  ctx: Context,
  tx: Db,
  account: { email: string },
  session: { deviceName: string | null; ip: string | null; createdAt: number },
): Promise<void> {
  const from = [
    session.deviceName === null ? 'an unnamed device' : quoted(session.deviceName),
    ...(session.ip === null ? [] : [`network ${session.ip}`]),
  ]
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'New login to your account',
    kind: 'new_device',
    text: mailText(ctx, [
      `Your account was signed in to from ${from.join(', ')} at ${isoTime(session.createdAt)}.`,
      'If that was you, there is nothing to do. If not: end that session, change your password, and look at your API keys and passkeys.',
    ]),
  })
}
