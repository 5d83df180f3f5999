import type { User } from '@hivesync/contracts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { createLiveRows, type LiveRows } from '../platform/live-rows.ts'
import { auditRefusal } from './audit-refusal.ts'
import { insertAccount, loginKey, type NewAccount, preparePassword, refuseTakenNames } from './new-account.ts'
import { findAccountWithHash } from './queries.ts'
import { isSetUp } from './setup.ts'
import { getUser } from './user.ts'

export { setPasswordHasher, upgradePasswordHash, verifyPassword } from './passwords.ts'
export { type Account, findAccount, lockVerifiedAccount, setLogin } from './queries.ts'
export { ensureSetupToken, setUp } from './setup.ts'
export { getUser } from './user.ts'

/** Creates an account where registration is open; a taken name is told, because nothing else could help the person on. */
export async function register(ctx: Context, actor: Actor, body: NewAccount): Promise<{ user: User }> {
  return auditRefusal(ctx, actor, 'account.registered', async () => {
    if (!(await isSetUp(ctx))) throw new AppError('setup_required')
    if (ctx.config.registration !== 'open') throw new AppError('registration_closed')
    const passwordHash = await preparePassword(ctx, body)
    const user = await refuseTakenNames(() =>
      ctx.db.transaction(async (tx) => {
        const { userId, teamId } = await insertAccount(ctx, tx, body, { passwordHash, isAdmin: false })
        const target = { kind: 'user', id: userId }
        await recordAudit(ctx, tx, actor, { action: 'account.registered', target, teamId })
        return getUser(tx, userId)
      }),
    )
    ctx.bus.publish('identity')
    return { user }
  })
}

/** The person whose credentials these are; an operator's API key has none. */
export async function getMe(ctx: Context, actor: Actor): Promise<User> {
  if (actor.userId === null) throw new AppError('user_not_found')
  let live = people.get(ctx)
  if (live === undefined) {
    live = createLiveRows(ctx, (userId) => getUser(ctx.db.kysely, userId))
    people.set(ctx, live)
  }
  const user = await live(actor.userId)
  if (user === undefined) throw new AppError('user_not_found', { userId: actor.userId })
  return user
}

// The most asked question of all: read once until something about people changes.
const people = new WeakMap<Context, LiveRows<User>>()

/** The account that a login names, with its password's hash. Only an email address has an `@`, so a login names at most one. */
export function findAccountByLogin(db: Db, login: string) {
  const key = loginKey(login)
  return findAccountWithHash(db, login.includes('@') ? { emailKey: key } : { usernameKey: key })
}
