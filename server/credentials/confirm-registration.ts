import type { User } from '@hivesync/contracts/accounts.ts'
import { auditRefusal, getUser, insertAccount, loginKey, refuseTakenNames } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { type Letter, mailLink, mayMail } from './links.ts'
import { findByEmail, findByUsername } from './queries.ts'

const purpose = 'registration'

interface Wish {
  email: string
  username: string
  passwordHash: string
}

/**
 * Keeps what somebody wants to register in the link of a mail, and creates nothing: who does not have the mailbox occupies no name, and can neither tell from the answer nor by
 * logging in whose address it is. To a taken address goes a mail that says so (ASVS 6.3.8).
 */
export async function requestRegistration(ctx: Context, actor: Actor, wish: Wish, source: string): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    const isAllowed = await mayMail(ctx, tx, { purpose, address: wish.email, source })
    const letter = await letterFor(tx, wish)
    await mailLink(ctx, tx, { ...letter, to: isAllowed ? letter.to : null })
    await recordAudit(ctx, tx, actor, { action: 'account.registration_requested' })
  })
}

async function letterFor(tx: Db, { email, username, passwordHash }: Wish): Promise<Letter> {
  const owner = await findByEmail(tx, loginKey(email))
  const namesake = await findByUsername(tx, loginKey(username))
  const ifNot = 'If that was not you, ignore this mail: nothing has changed.'
  if (owner !== undefined)
    return {
      purpose,
      to: owner.email,
      subject: 'You already have an account',
      link: null,
      text: () => [
        `Somebody asked for an account with this email address, which has one already: ${owner.username}. If you have forgotten its password, use "Forgot password".`,
        ifNot,
      ],
    }
  if (namesake !== undefined)
    return {
      purpose,
      to: email,
      subject: 'Choose another username',
      link: null,
      text: () => [
        `Somebody asked for an account with this email address and the username ${username}, which is taken. Register again with another one.`,
        ifNot,
      ],
    }
  return {
    purpose,
    to: email,
    subject: 'Confirm your email address',
    link: { userId: null, data: { email, username, passwordHash } },
    text: (url) => [
      `Somebody asked for the account ${username} with this email address. This link creates it, once, within an hour:`,
      url,
      'If that was not you, do not use the link: the password is known to whoever asked.',
    ],
  }
}

/** Creates the account that the link of a mail holds, its address proved. A name that was taken meanwhile is told: the link's holder has the mailbox. */
export function confirmRegistration(ctx: Context, actor: Actor, body: { token: string }): Promise<{ user: User }> {
  return auditRefusal(ctx, actor, 'account.registered', async () => {
    if (ctx.config.registration !== 'open') throw new AppError('registration_closed')
    const user = await refuseTakenNames(() =>
      ctx.db.transaction(async (tx) => {
        const wish = readWish((await spendOneTimeToken(ctx, tx, purpose, body.token))?.data)
        if (wish === undefined) throw new AppError('invalid_link')
        const { passwordHash } = wish
        const more = { passwordHash, isAdmin: false, emailVerifiedAt: ctx.clock.now() }
        const { userId, teamId } = await insertAccount(ctx, tx, wish, more)
        const target = { kind: 'user', id: userId }
        await recordAudit(ctx, tx, actor, { action: 'account.registered', target, teamId })
        return getUser(tx, userId)
      }),
    )
    ctx.bus.publish('identity')
    return { user }
  })
}

/** What the token of a letter without a link holds is nothing. */
function readWish(data: Record<string, unknown> | undefined): Wish | undefined {
  const { email, username, passwordHash } = data ?? {}
  const isWhole = typeof email === 'string' && typeof username === 'string' && typeof passwordHash === 'string'
  return isWhole ? { email, username, passwordHash } : undefined
}
