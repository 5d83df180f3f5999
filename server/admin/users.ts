import type { AdministeredUser, ListedUser } from '@hivesync/contracts/admin.ts'
import { loginKey } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { revokeOneTimeTokens } from '../platform/one-time-tokens.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import { requireAnotherAdmin } from './admin.ts'
import { findUserRow, listFactorKinds, listUserRows, lockUserRow, setAdmin, setDeactivated } from './queries.ts'

/** The people of this server. Addresses are hidden here: a list is read over shoulders and kept in screenshots. */
export async function listUsers(
  ctx: Context,
  query: { limit?: string; cursor?: string; q?: string },
): Promise<Page<ListedUser>> {
  const request = pageRequest(query)
  const { q } = query
  const by = q === undefined ? {} : q.includes('@') ? { emailKey: loginKey(q) } : { usernamePrefix: loginKey(q) }
  return toPage(
    await listUserRows(ctx.db.kysely, by, request),
    request,
    (row) => row.id,
    (row) => ({
      id: row.id,
      username: row.username,
      email: row.email.replace(/^(.).*@/su, '$1…@'),
      isActive: row.deactivatedAt === null,
      isAdmin: row.adminSince !== null,
      createdAt: isoTime(row.createdAt),
      lastLoginAt: isoTime(row.lastLoginAt),
    }),
  )
}

export async function getUser(ctx: Context, userId: string): Promise<AdministeredUser> {
  return readUser(ctx, ctx.db.kysely, userId)
}

/** Shuts a person out: what stands on their rights falls in the same commit (requirement A6). The last admin stays. */
export async function deactivateUser(ctx: Context, actor: Actor, userId: string): Promise<AdministeredUser> {
  return revoking(ctx, actor, async (tx, revoke) => {
    await requireAnotherAdmin(tx, userId)
    const user = await lockUser(tx, userId)
    if (user.deactivatedAt === null) {
      await setDeactivated(tx, userId, ctx.clock.now())
      await revokeOneTimeTokens(tx, userId)
      await revoke({ users: [userId], sessionsOf: [{ userId, exceptId: null, reason: 'deactivated' }] })
      await auditUser(ctx, tx, actor, userId, 'user.deactivated')
    }
    return readUser(ctx, tx, userId)
  })
}

/** Lets a person in again; sessions that had ended stay so, keys that were not revoked work again. */
export async function activateUser(ctx: Context, actor: Actor, userId: string): Promise<AdministeredUser> {
  const user = await ctx.db.transaction(async (tx) => {
    const { deactivatedAt } = await lockUser(tx, userId)
    if (deactivatedAt !== null) {
      await setDeactivated(tx, userId, null)
      await auditUser(ctx, tx, actor, userId, 'user.activated')
    }
    return readUser(ctx, tx, userId)
  })
  ctx.bus.publish('identity')
  return user
}

/** Gives or takes the admin's role, effective on the next request of every session and key of the person. */
export async function setUserRole(
  ctx: Context,
  actor: Actor,
  userId: string,
  isAdmin: boolean,
): Promise<AdministeredUser> {
  return revoking(ctx, actor, async (tx, revoke) => {
    if (!isAdmin) await requireAnotherAdmin(tx, userId)
    const user = await lockUser(tx, userId)
    if ((user.adminSince !== null) !== isAdmin) {
      await setAdmin(tx, userId, isAdmin ? ctx.clock.now() : null)
      if (!isAdmin) await revoke({ users: [userId] })
      await auditUser(ctx, tx, actor, userId, isAdmin ? 'user.made_admin' : 'user.admin_ended')
    }
    return readUser(ctx, tx, userId)
  })
}

/** Ends all sessions of a person (ASVS 7.4.5). */
export async function endUserSessions(ctx: Context, actor: Actor, userId: string): Promise<void> {
  await revoking(ctx, actor, async (tx, revoke) => {
    await lockUser(tx, userId)
    await revoke({ sessionsOf: [{ userId, exceptId: null, reason: 'ended_by_admin' }] })
    await auditUser(ctx, tx, actor, userId, 'user.sessions_ended')
  })
}

async function lockUser(tx: Db, userId: string) {
  const user = await lockUserRow(tx, userId)
  if (user === undefined) throw new AppError('user_not_found', { userId })
  return user
}

async function readUser(ctx: Context, db: Db, userId: string): Promise<AdministeredUser> {
  const row = await findUserRow(db, userId, ctx.clock.now())
  if (row === undefined) throw new AppError('user_not_found', { userId })
  return {
    id: row.id,
    username: row.username,
    email: row.email,
    emailVerified: row.emailVerifiedAt !== null,
    isActive: row.deactivatedAt === null,
    isAdmin: row.adminSince !== null,
    hasPassword: row.passwordHash !== null,
    passwordDisabled: row.passwordDisabledAt !== null,
    factors: await listFactorKinds(db, userId),
    sessions: row.sessionCount ?? 0,
    apiKeys: row.keyCount ?? 0,
    createdAt: isoTime(row.createdAt),
    lastLoginAt: isoTime(row.lastLoginAt),
  }
}

function auditUser(ctx: Context, tx: Db, actor: Actor, userId: string, action: string): Promise<void> {
  return recordAudit(ctx, tx, actor, { action, target: { kind: 'user', id: userId } })
}
