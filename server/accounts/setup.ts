import type { User } from '@hivesync/contracts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { isEqualSecret, sha256Hex } from '../platform/crypto/hash.ts'
import { AppError } from '../platform/errors.ts'
import { auditRefusal } from './audit-refusal.ts'
import { insertAccount, type NewAccount, preparePassword, refuseTakenNames } from './new-account.ts'
import { completeSetup, findSetup, storeSetupToken } from './queries.ts'
import { getUser } from './user.ts'

/**
 * The token with which the first admin is created, or null once there is one. Only its hash is kept: unless the
 * configuration names the token, each start makes a new one, and the one printed before is worthless.
 */
export async function ensureSetupToken(ctx: Context): Promise<string | null> {
  const token = ctx.config.setupToken ?? ctx.random.token()
  return (await storeSetupToken(ctx.db.kysely, sha256Hex(token))) ? token : null
}

/** Creates the first admin, once: of several calls at the same time exactly one succeeds. */
export async function setUp(
  ctx: Context,
  actor: Actor,
  body: NewAccount & { setupToken: string },
): Promise<{ user: User }> {
  return auditRefusal(ctx, actor, 'account.set_up', async () => {
    const tokenHash = sha256Hex(body.setupToken)
    // Before the password is judged: hashing is expensive, and only the holder of the token may ask for it.
    await requireSetupToken(ctx, tokenHash)
    const passwordHash = await preparePassword(ctx, body)
    const user = await refuseTakenNames(() =>
      ctx.db.transaction(async (tx) => {
        if (!(await completeSetup(tx, tokenHash, ctx.clock.now()))) throw new AppError('already_set_up')
        // The setup token is the operator's, who stands above any mailbox: a mail server must not be able to shut the first admin out.
        const isProved = ctx.config.emailVerification === 'required'
        const more = { passwordHash, isAdmin: true, ...(isProved && { emailVerifiedAt: ctx.clock.now() }) }
        const { userId, teamId } = await insertAccount(ctx, tx, body, more)
        const target = { kind: 'user', id: userId }
        await recordAudit(ctx, tx, actor, { action: 'account.set_up', target, teamId })
        return getUser(tx, userId)
      }),
    )
    ctx.bus.publish('identity')
    return { user }
  })
}

async function requireSetupToken(ctx: Context, tokenHash: string): Promise<void> {
  const setup = await findSetup(ctx.db.kysely)
  if (setup !== undefined && setup.completedAt !== null) throw new AppError('already_set_up')
  if (!isEqualSecret(tokenHash, setup?.tokenHash ?? '')) throw new AppError('invalid_setup_token')
}

/** Whether the first admin exists. */
export async function isSetUp(ctx: Context): Promise<boolean> {
  const setup = await findSetup(ctx.db.kysely)
  return setup !== undefined && setup.completedAt !== null
}
