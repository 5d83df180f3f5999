import type { User } from '@hivesync/contracts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { auditRefusal } from './audit-refusal.ts'
import { noticeCredentialChange } from './credential-notice.ts'
import { loginKey, refuseTakenNames } from './new-account.ts'
import { lockAccount, setUsername } from './queries.ts'
import { getUser } from './user.ts'

/** Changes what is given of the person's profile. The username is a login, so its owner is told; the old one is free at once. */
export async function updateMe(ctx: Context, actor: Actor, body: { username?: string }): Promise<User> {
  const { userId } = requireSession(actor)
  const { username } = body
  if (username === undefined) return getUser(ctx.db.kysely, userId)
  return auditRefusal(ctx, actor, 'account.username_changed', async () => {
    const user = await refuseTakenNames(() =>
      ctx.db.transaction(async (tx) => {
        const account = await lockAccount(tx, userId)
        if (account === undefined) throw new AppError('session_revoked')
        if (account.username !== username) {
          await setUsername(tx, userId, { username, usernameKey: loginKey(username) })
          await noticeCredentialChange(ctx, tx, account, actor, `The username of your account is now ${username}.`)
          await recordAudit(ctx, tx, actor, {
            action: 'account.username_changed',
            target: { kind: 'user', id: userId },
          })
        }
        return getUser(tx, userId)
      }),
    )
    ctx.bus.publish('identity')
    return user
  })
}
