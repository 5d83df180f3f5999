import type { Context } from '../platform/context.ts'
import { defaultPasswordCost, nameOfWork, type PasswordWork, parseWork } from '../platform/crypto/password-cost.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'

const lock = 'password_works'

/** The kinds of work that stored password hashes ask for: what every verification does, whoever the account is (ASVS 6.3.8). */
export async function findPasswordWorks(ctx: Context): Promise<PasswordWork[]> {
  const rows = await ctx.db.kysely.selectFrom('passwordWorks').select('name').orderBy('name').execute()
  return rows.flatMap(({ name }) => {
    const work = parseWork(name)
    // Planted, or of a newer version: more work than anybody may ask for is not done for everybody.
    if (work === undefined) ctx.log.error({ event: 'password_work_refused' })
    return work ?? []
  })
}

/** Says, before the first hash of its kind is stored and in the same transaction, that the work is in use from now on. */
export async function addPasswordWorks(tx: Db, works: readonly PasswordWork[]): Promise<void> {
  await withLock(tx, lock)
  const rows = [...new Set(works.map(nameOfWork))].map((name) => ({ name }))
  await tx
    .insertInto('passwordWorks')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/**
 * At the start: the work of hashes made from now on is in use, and what no stored hash asks for any more is not: nobody waits for bcrypt when the last
 * such hash is gone.
 */
export async function renewPasswordWorks(ctx: Context, today: PasswordWork): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    // Hashes older than this table were made with the default.
    await addPasswordWorks(tx, [today, { kind: 'argon2id', ...defaultPasswordCost }])
    for (const { name } of await tx.selectFrom('passwordWorks').select('name').execute()) {
      if (name !== nameOfWork(today) && !(await isInUse(tx, name)))
        await tx.deleteFrom('passwordWorks').where('name', '=', name).execute()
    }
  })
}

async function isInUse(tx: Db, name: string): Promise<boolean> {
  const user = await tx.selectFrom('users').select('id').where('passwordHash', 'like', `%$${name}$%`).limit(1).execute()
  return user.length > 0
}
