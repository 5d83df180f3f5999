import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { isCommonPassword } from './blocklist.ts'
import { contextWordsOf, findPasswordFault } from './password-rules.ts'
import { hashPassword } from './passwords.ts'
import { insertTeam, insertTeamMember, insertUser } from './queries.ts'

export interface NewAccount {
  email: string
  username: string
  password: string
}

/** What a username or an email address is unique by: case and composition do not make another one. */
export function loginKey(name: string): string {
  return name.normalize('NFC').toLowerCase().normalize('NFC')
}

/**
 * Judges the names and the password and hashes it: everything that must happen before the transaction. With a second factor enrolled
 * a shorter password will do; see `isShort` for what is to be remembered of it.
 */
export async function preparePassword(
  ctx: Context,
  account: NewAccount,
  { hasSecondFactor = false, field = 'password' }: { hasSecondFactor?: boolean; field?: string } = {},
): Promise<string> {
  requireWellFormedEmail(account.email)
  const { config } = ctx
  const rules = {
    hasSecondFactor,
    isMixed: config.passwordComposition,
    contextWords: contextWordsOf(config.publicUrl),
  }
  const isCommon = () =>
    isCommonPassword(config, account.password) ? 'is one of the most common passwords' : undefined
  const fault = findPasswordFault(account.password, account, rules) ?? isCommon()
  if (fault !== undefined) {
    const detail = `The password ${fault}`
    throw new AppError('weak_password', {}, { detail, fields: [{ path: `body/${field}`, message: fault }] })
  }
  return hashPassword(ctx, account.password)
}

/** A lone surrogate is stored as U+FFFD, where two different addresses would become one. */
export function requireWellFormedEmail(email: string): void {
  if (email.isWellFormed()) return
  throw new AppError('invalid_request', {}, { fields: [{ path: 'body/email', message: 'is not well-formed text' }] })
}

/** Inserts the person and the personal team that the person owns; answers the new ids. */
export async function insertAccount(
  ctx: Context,
  tx: Db,
  account: Pick<NewAccount, 'email' | 'username'>,
  more: { passwordHash: string | null; isAdmin: boolean; createdAt?: number; emailVerifiedAt?: number },
): Promise<{ userId: string; teamId: string }> {
  const now = ctx.clock.now()
  const [userId, teamId] = [ctx.random.id(), ctx.random.id()]
  await insertUser(tx, {
    id: userId,
    email: account.email,
    emailKey: loginKey(account.email),
    username: account.username,
    usernameKey: loginKey(account.username),
    passwordHash: more.passwordHash,
    adminSince: more.isAdmin ? now : null,
    deactivatedAt: null,
    emailVerifiedAt: more.emailVerifiedAt ?? null,
    createdAt: more.createdAt ?? now,
    lastLoginAt: null,
  })
  await insertTeam(tx, { id: teamId, name: account.username, personalUserId: userId, createdAt: now })
  await insertTeamMember(tx, { teamId, userId, role: 'owner', createdAt: now })
  return { userId, teamId }
}

/** Runs the transaction that inserts an account; a name that was taken meanwhile becomes the refusal that says so. */
export async function refuseTakenNames<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const constraint = isUniqueViolation(error)
    if (constraint === 'users(email_key)') throw new AppError('email_taken')
    if (constraint === 'users(username_key)') throw new AppError('username_taken')
    throw error
  }
}
