import { auditRefusal, lockAccount, loginKey } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { findOneTimeToken, revokeOneTimeTokens, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { mailLink, mayMail } from './links.ts'
import { setEmailVerified } from './queries.ts'

const purpose = 'email-verification'

/** Mails the link that proves the account's address; nothing happens where it is proved already. */
export async function requestEmailVerification(ctx: Context, actor: Actor, source: string): Promise<void> {
  const { userId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    const account = await lockAccount(tx, userId)
    if (account === undefined) throw new AppError('session_revoked')
    if (account.emailVerifiedAt !== null) return
    if (!(await mayMail(ctx, tx, { purpose, address: account.email, source }))) return
    await mailVerification(ctx, tx, account)
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'account.email_verification_requested', target })
  })
}

/** Queues the mail with the link that proves the address of an account, and that address only. */
export async function mailVerification(
  ctx: Context,
  tx: Db,
  account: { id: string; email: string; username: string },
): Promise<void> {
  await mailLink(ctx, tx, {
    purpose,
    to: account.email,
    subject: 'Confirm your email address',
    link: { userId: account.id, data: { emailKey: loginKey(account.email) } },
    text: (url) => [
      `The account ${account.username} has this email address. If it is yours, confirm it within 24 hours:`,
      url,
      'If it is not, do not: somebody has mistyped theirs, or tries to use yours.',
    ],
  })
}

/** Notes that the address is proved, with the link that was mailed to it; changed meanwhile, the link is worth nothing. */
export function verifyEmail(ctx: Context, actor: Actor, body: { token: string }): Promise<void> {
  return auditRefusal(ctx, actor, 'account.email_verified', async () => {
    const link = await findOneTimeToken(ctx, ctx.db.kysely, purpose, body.token)
    const userId = link?.userId ?? null
    if (userId === null) throw new AppError('invalid_link')
    await ctx.db.transaction(async (tx) => {
      const account = await lockAccount(tx, userId)
      const spent = account && (await spendOneTimeToken(ctx, tx, purpose, body.token))
      const emailKey = spent?.data.emailKey
      if (typeof emailKey !== 'string' || !(await setEmailVerified(tx, userId, emailKey, ctx.clock.now())))
        throw new AppError('invalid_link')
      await revokeOneTimeTokens(tx, userId, [purpose])
      await recordAudit(ctx, tx, actor, { action: 'account.email_verified', target: { kind: 'user', id: userId } })
    })
    ctx.bus.publish('identity')
  })
}
