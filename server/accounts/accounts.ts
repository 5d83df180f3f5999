import type { User } from '@hivesync/contracts/accounts.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { createLiveRows, type LiveRows } from '../platform/live-rows.ts'
import { loginKey } from './new-account.ts'
import { findAccountWithHash } from './queries.ts'
import { getUser } from './user.ts'

export { auditRefusal } from './audit-refusal.ts'
export { openBlocklist } from './blocklist.ts'
export { noticeCredentialChange } from './credential-notice.ts'
export {
  insertAccount,
  loginKey,
  type NewAccount,
  preparePassword,
  refuseTakenNames,
  requireWellFormedEmail,
} from './new-account.ts'
export { countPasswordFailure, disablePassword, forgivePasswordFailures } from './password-failures.ts'
export { isShort } from './password-rules.ts'
export { equalizePasswordWork, setPasswordHasher, upgradePasswordHash, verifyPassword } from './passwords.ts'
export {
  type Account,
  type AccountWithHash,
  findAccount,
  findAccountWithPassword,
  hasOtherCredential,
  isPasswordShort,
  lockAccount,
  replacePasswordHash,
  setLogin,
} from './queries.ts'
export { ensureSetupToken, isSetUp, setUp } from './setup.ts'
export { getUser } from './user.ts'

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
