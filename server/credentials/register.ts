import type { User } from '@hivesync/contracts/accounts.ts'
import {
  auditRefusal,
  getUser,
  insertAccount,
  isSetUp,
  type NewAccount,
  preparePassword,
  refuseTakenNames,
  requireWellFormedEmail,
} from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { redeemInvitation, requireInvitation } from '../teams/teams.ts'
import { requestRegistration } from './confirm-registration.ts'
import { mailVerification } from './verify-email.ts'

/**
 * Creates an account where registration is open, or with an invitation, which proves its address. Where addresses must be proved, nothing is
 * created and the answer is undefined whoever has the names: the rest goes by mail. Elsewhere a taken name is told.
 */
export function register(
  ctx: Context,
  actor: Actor,
  body: NewAccount & { invitation?: string },
  source: string,
): Promise<{ user: User } | undefined> {
  return auditRefusal(ctx, actor, 'account.registered', async () => {
    const { invitation } = body
    if (!(await isSetUp(ctx))) throw new AppError('setup_required')
    const { registration, emailVerification } = ctx.config
    if (registration === 'closed' || (registration === 'invite' && invitation === undefined))
      throw new AppError('registration_closed')
    requireWellFormedEmail(body.email)
    // Before the password is hashed, and before a taken name could be told to somebody who is not invited.
    if (invitation !== undefined) await requireInvitation(ctx, ctx.db.kysely, invitation, body.email)
    const passwordHash = await preparePassword(ctx, body)
    if (invitation === undefined && emailVerification === 'required') {
      await requestRegistration(ctx, actor, { ...body, passwordHash }, source)
      return undefined
    }
    return { user: await createAccount(ctx, actor, body, passwordHash) }
  })
}

async function createAccount(
  ctx: Context,
  actor: Actor,
  body: NewAccount & { invitation?: string },
  passwordHash: string,
): Promise<User> {
  const { invitation, email, username } = body
  const user = await refuseTakenNames(() =>
    ctx.db.transaction(async (tx) => {
      const proof = invitation === undefined ? {} : { emailVerifiedAt: ctx.clock.now() }
      const { userId, teamId } = await insertAccount(ctx, tx, body, { passwordHash, isAdmin: false, ...proof })
      await recordAudit(ctx, tx, actor, {
        action: 'account.registered',
        target: { kind: 'user', id: userId },
        teamId,
        details: { invited: invitation !== undefined },
      })
      if (invitation === undefined) await mailVerification(ctx, tx, { id: userId, email, username })
      else await redeemInvitation(ctx, tx, actor, invitation, { userId, email })
      return getUser(tx, userId)
    }),
  )
  ctx.bus.publish('identity')
  return user
}
