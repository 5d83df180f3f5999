import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { findPasswordFault } from './password-rules.ts'
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

/** Judges the names and the password and hashes it: everything that must happen before the transaction. */
export async function preparePassword(ctx: Context, account: NewAccount): Promise<string> {
  // A lone surrogate is stored as U+FFFD, where two different addresses would become one.
  if (!account.email.isWellFormed()) {
    throw new AppError('invalid_request', {}, { fields: [{ path: 'body/email', message: 'is not well-formed text' }] })
  }
  const fault = findPasswordFault(account.password, account)
  if (fault !== undefined) {
    const detail = `The password ${fault}`
    throw new AppError('weak_password', {}, { detail, fields: [{ path: 'body/password', message: fault }] })
  }
  return hashPassword(ctx, account.password)
}

/** Inserts the person and the personal team that the person owns; answers the new ids. */
export async function insertAccount(
  ctx: Context,
  tx: Db,
  account: NewAccount,
  more: { passwordHash: string; isAdmin: boolean },
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
    emailVerifiedAt: null,
    createdAt: now,
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
