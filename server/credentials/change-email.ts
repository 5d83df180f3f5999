import { auditRefusal, lockAccount, loginKey, requireWellFormedEmail } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { findOneTimeToken, revokeOneTimeTokens, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { mailLink, mayMail } from './links.ts'
import { findByEmail, setEmail } from './queries.ts'

const purpose = 'email-change'

/**
 * Mails a link to the new address, and to the old one who asked for what and how to stop it. Nothing changes before the link is used. Whether
 * somebody has the address is not told: its owner gets a mail instead of the link.
 */
export async function requestEmailChange(
  ctx: Context,
  actor: Actor,
  body: { email: string },
  source: string,
): Promise<void> {
  const { userId } = requireSession(actor)
  requireWellFormedEmail(body.email)
  await ctx.db.transaction(async (tx) => {
    const account = await lockAccount(tx, userId)
    if (account === undefined) throw new AppError('session_revoked')
    const isAllowed = await mayMail(ctx, tx, { purpose, address: body.email, source: `${source}\n${userId}` })
    const owner = await findByEmail(tx, loginKey(body.email))
    const isTaken = owner !== undefined && owner.id !== userId
    // Only the newest one works: an address that was mistyped must not become the account's.
    await revokeOneTimeTokens(tx, userId, [purpose])
    await mailLink(ctx, tx, {
      purpose,
      to: isAllowed ? (isTaken ? owner.email : body.email) : null,
      subject: isTaken ? 'Your email address was given for another account' : 'Confirm your new email address',
      link: isTaken ? null : { userId, data: { email: body.email } },
      text: (url) => (isTaken ? takenText(account) : linkText(account, url)),
    })
    await warnOldAddress(ctx, tx, actor, account, body.email)
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'account.email_change_requested', target })
  })
}

const linkText = (account: { username: string }, url: string) => [
  `The account ${account.username} is to have this email address. If that is your account, confirm it within 30 minutes:`,
  url,
  'If it is not, ignore this mail.',
]
const takenText = (account: { username: string }) => [
  `The account ${account.username} was to get this email address, which is yours already: an address belongs to one account only, so nothing has changed.`,
  'If that was you, use another address there. If not, there is nothing to do.',
]

async function warnOldAddress(
  ctx: Context,
  tx: Db,
  actor: Actor,
  account: { email: string; username: string },
  email: string,
): Promise<void> {
  const where = actor.ip === null ? '' : `, from the network ${actor.ip}`
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'Your email address is about to be changed',
    kind: 'email_change_notice',
    text: mailText(ctx, [
      `Somebody who is signed in to your account ${account.username} asked at ${isoTime(ctx.clock.now())}${where} to change its email address to ${quoted(email)}.`,
      'If that was you, there is nothing to do. If not, stop it now: use "Forgot password" and set a new one. That ends every session and makes the link to the new address worthless.',
    ]),
  })
}

/** Changes the address with the link that was mailed to the new one. Every other link of the account dies with it, also those in the old mailbox (reference T15). */
export function confirmEmailChange(ctx: Context, actor: Actor, body: { token: string }): Promise<void> {
  return auditRefusal(ctx, actor, 'account.email_changed', async () => {
    const link = await findOneTimeToken(ctx, ctx.db.kysely, purpose, body.token)
    const userId = link?.userId ?? null
    if (userId === null) throw new AppError('invalid_link')
    try {
      await ctx.db.transaction((tx) => swapEmail(ctx, tx, actor, userId, body.token))
    } catch (error) {
      // Whoever holds the link has the mailbox: they may know.
      if (isUniqueViolation(error) === 'users(email_key)') throw new AppError('email_taken')
      throw error
    }
    ctx.bus.publish('identity')
  })
}

async function swapEmail(ctx: Context, tx: Db, actor: Actor, userId: string, token: string): Promise<void> {
  const account = await lockAccount(tx, userId)
  const spent = account && (await spendOneTimeToken(ctx, tx, purpose, token))
  const email = spent?.data.email
  if (account === undefined || typeof email !== 'string') throw new AppError('invalid_link')
  await setEmail(tx, userId, { email, emailKey: loginKey(email), emailVerifiedAt: ctx.clock.now() })
  await revokeOneTimeTokens(tx, userId)
  await tellOldAddress(ctx, tx, actor, account, email)
  await recordAudit(ctx, tx, actor, { action: 'account.email_changed', target: { kind: 'user', id: userId } })
}

async function tellOldAddress(
  ctx: Context,
  tx: Db,
  actor: Actor,
  account: { email: string; username: string },
  email: string,
): Promise<void> {
  const where = actor.ip === null ? '' : `, from the network ${actor.ip}`
  await sendMail(ctx, tx, {
    to: account.email,
    subject: 'Your email address was changed',
    kind: 'email_changed',
    text: mailText(ctx, [
      `The email address of your account ${account.username} was changed to ${quoted(email)} at ${isoTime(ctx.clock.now())}${where}. Mail about the account goes there from now on.`,
      'If that was not you, change your password at once where you are still signed in, end all other sessions, and tell whoever runs this server.',
    ]),
  })
}
