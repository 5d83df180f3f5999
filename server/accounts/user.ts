import type { User } from '@hivesync/contracts/accounts.ts'
import { isoTime } from '../platform/clock.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { findUser } from './queries.ts'

/** The person as the wire shows one; refuses with `user_not_found`. */
export async function getUser(db: Db, userId: string): Promise<User> {
  const row = await findUser(db, userId)
  if (row === undefined) throw new AppError('user_not_found', { userId })
  return {
    id: row.id,
    email: row.email,
    username: row.username,
    isActive: row.deactivatedAt === null,
    isAdmin: row.adminSince !== null,
    tier: row.tier ?? 'free',
    emailVerified: row.emailVerifiedAt !== null,
    mfa: (row.factors ?? 0) > 0,
    createdAt: isoTime(row.createdAt),
    lastLoginAt: isoTime(row.lastLoginAt),
  }
}
