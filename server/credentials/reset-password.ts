import { auditRefusal, findAccount, findAccountByLogin, lockAccount, loginKey } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { endApiKeysOf } from '../keys/keys.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { findOneTimeToken, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { type Revoke, revoking } from '../platform/revocation.ts'
import { mailLink, mayMail } from './links.ts'
import { judgePassword, storePassword } from './new-password.ts'
import { hasOwnFactorOrIdentity, setEmailVerified } from './queries.ts'

const purpose = 'password-reset'

/**
 * Mails the person a link, if there is such an account: the reply, the rows and the work are the same if not (ASVS 6.3.8), and also where too many were mailed.
 * The links of several requests all work until one is used. Open also where failed logins have disabled the password.
 */
export async function requestPasswordReset(
  ctx: Context,
  actor: Actor,
  body: { login: string },
  source: string,
): Promise<void> {
  const account = await findAccountByLogin(ctx.db.kysely, body.login)
  await ctx.db.transaction(async (tx) => {
    const isAllowed = await mayMail(ctx, tx, { purpose, address: account?.email ?? body.login, source })
    const live = await lockAccount(tx, account?.id ?? ctx.random.id())
    const userId = live?.id ?? null
    await mailLink(ctx, tx, {
      purpose,
      to: live !== undefined && isAllowed ? live.email : null,
      subject: 'Set a new password',
      link: { userId, data: { emailKey: loginKey(live?.email ?? '') } },
      text: (url) => [
        `Somebody${fromWhere(actor)} asked for a new password for your account ${live?.username ?? ''}. This link sets one, once, within 30 minutes:`,
        url,
        'If that was not you, there is nothing to do: without the link nothing changes.',
      ],
    })
    const target = userId === null ? undefined : { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'account.password_reset_requested', ...(target && { target }) })
  })
}

/**
 * Sets a new password with the link of a mail, once. Whoever had got in is out: every session ends, known devices are strangers, every other link is
 * worthless. Signs nobody in and removes no second factor (ASVS 6.4.3). A password that is refused does not use the link up.
 */
export function resetPassword(ctx: Context, actor: Actor, body: { token: string; newPassword: string }): Promise<void> {
  return auditRefusal(ctx, actor, 'account.password_reset', async () => {
    const link = await findOneTimeToken(ctx, ctx.db.kysely, purpose, body.token)
    const account = link?.userId == null ? undefined : await findAccount(ctx.db.kysely, link.userId)
    // Before the password is judged: only the holder of a link may ask for a hash.
    if (account === undefined) throw new AppError('invalid_link')
    const password = await judgePassword(ctx, account, body.newPassword)
    await revoking(ctx, actor, async (tx, revoke) => {
      const live = await lockAccount(tx, account.id)
      const spent = live && (await spendOneTimeToken(ctx, tx, purpose, body.token))
      if (live === undefined || spent?.data.emailKey !== loginKey(live.email)) throw new AppError('invalid_link')
      await revoke({ sessionsOf: [{ userId: live.id, exceptId: null, reason: 'password_reset' }] })
      const details = await takeOver(ctx, tx, live, revoke)
      const withKeys =
        details.apiKeysEnded === 0 ? '' : ' Its API keys ended, because the address was not proved before.'
      const said = `Your password was reset with a link from a mail.${withKeys}`
      await storePassword(ctx, tx, actor, live, password, said)
      const target = { kind: 'user', id: live.id }
      await recordAudit(ctx, tx, actor, { action: 'account.password_reset', target, details })
    })
  })
}

/**
 * The link proves the mailbox, so the address counts as proved from now on. Until now it did not: whoever registered with it may have been somebody else, who waits for
 * its owner to come (account pre-hijacking). Their API keys end; and where a factor or an external identity of theirs would stay, the address stays unproved.
 */
async function takeOver(
  ctx: Context,
  tx: Db,
  account: { id: string; email: string; emailVerifiedAt: number | null },
  revoke: Revoke,
): Promise<{ emailProved: boolean; apiKeysEnded: number }> {
  if (account.emailVerifiedAt !== null) return { emailProved: false, apiKeysEnded: 0 }
  const apiKeys = await endApiKeysOf(ctx, tx, account.id)
  await revoke({ apiKeys })
  const isTheirs = !(await hasOwnFactorOrIdentity(tx, account.id))
  const now = ctx.clock.now()
  const emailProved = isTheirs && (await setEmailVerified(tx, account.id, loginKey(account.email), now))
  return { emailProved, apiKeysEnded: apiKeys.length }
}

/** Mails a person the link with which they set a new password, because an admin wants so; nobody else ever chooses or sees one (ASVS 6.4.6). */
export async function startUserReset(ctx: Context, actor: Actor, userId: string): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    const account = await lockAccount(tx, userId)
    if (account === undefined) throw new AppError('user_not_found', { userId })
    await mailLink(ctx, tx, {
      purpose,
      to: account.email,
      subject: 'Set a new password',
      link: { userId, data: { emailKey: loginKey(account.email) } },
      text: (url) => [
        `An administrator of the server asks you to set a new password for your account ${account.username}. This link sets one, once, within 30 minutes:`,
        url,
        'Nobody but you sees or chooses it.',
      ],
    })
    const target = { kind: 'user', id: userId }
    await recordAudit(ctx, tx, actor, { action: 'user.password_reset_started', target })
  })
}

/** The part of a sentence that says where a request came from. */
export function fromWhere(actor: Pick<Actor, 'ip'>): string {
  return actor.ip === null ? '' : `, from the network ${actor.ip},`
}
