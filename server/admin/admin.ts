import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { listAdminIds } from './queries.ts'

/** There is always an admin who can sign in: two of them cannot take each other's role at once. */
export async function requireAnotherAdmin(tx: Db, userId: string): Promise<void> {
  await withLock(tx, 'admins')
  const admins = await listAdminIds(tx)
  if (admins.length === 1 && admins[0] === userId) throw new AppError('last_admin', { userId })
}
