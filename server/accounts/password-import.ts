import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { PasswordHasher } from '../platform/crypto/password.ts'
import type { LegacyHash } from '../platform/crypto/password-legacy.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { insertAccount, loginKey } from './new-account.ts'
import { addPasswordWorks } from './password-work.ts'
import { createHasher } from './passwords.ts'

/** A person of another system. */
export interface ImportedAccount {
  email: string
  username: string
  legacy: LegacyHash
  isAdmin: boolean
  createdAt: number | undefined
}

/** An hour: the import waits for its own hashes only. */
const deadlineMs = 3_600_000
/** Each try that fails was overtaken by somebody who registered one of the names. */
const maxTries = 5

/** How many accounts one transaction takes. */
export const importBatchSize = 50

/**
 * Gives an import of accounts: each call takes up to `importBatchSize` of them in one transaction and answers those left out, because their email address or
 * username is taken. Their hashes are wrapped in Argon2id before anything is stored; running it again imports nobody twice.
 */
export function openImport(ctx: Context): (batch: readonly ImportedAccount[]) => Promise<ImportedAccount[]> {
  const hasher = createHasher(ctx, { maxQueued: importBatchSize, deadlineMs })
  return async (batch) => {
    for (let tries = 1; ; tries++) {
      const taken = await findTaken(ctx, batch)
      try {
        await insertBatch(
          ctx,
          hasher,
          batch.filter((account) => !taken.includes(account)),
        )
        return taken
      } catch (error) {
        if (tries === maxTries || isUniqueViolation(error) === undefined) throw error
      }
    }
  }
}

async function findTaken(ctx: Context, batch: readonly ImportedAccount[]): Promise<ImportedAccount[]> {
  const keys = batch.flatMap(({ email, username }) => [loginKey(email), loginKey(username)])
  const rows = await ctx.db.kysely
    .selectFrom('users')
    .select(['emailKey', 'usernameKey'])
    .where((eb) => eb.or([eb('emailKey', 'in', keys), eb('usernameKey', 'in', keys)]))
    .execute()
  const taken = new Set(rows.flatMap(({ emailKey, usernameKey }) => [emailKey, usernameKey]))
  return batch.filter(({ email, username }) => taken.has(loginKey(email)) || taken.has(loginKey(username)))
}

async function insertBatch(ctx: Context, hasher: PasswordHasher, batch: readonly ImportedAccount[]): Promise<void> {
  if (batch.length === 0) return
  const hashed = await Promise.all(
    batch.map(async (account) => ({ ...account, passwordHash: await hasher.wrap(account.legacy) })),
  )
  const works = [hasher.work, ...batch.flatMap(({ legacy }) => legacy.work ?? [])]
  await ctx.db.transaction(async (tx) => {
    await addPasswordWorks(tx, works)
    for (const { legacy, ...account } of hashed) {
      const { userId, teamId } = await insertAccount(ctx, tx, account, account)
      const target = { kind: 'user', id: userId }
      const details = { hash: legacy.inner.kind, isAdmin: account.isAdmin }
      await recordAudit(ctx, tx, system, { action: 'account.imported', target, teamId, details })
    }
  })
  ctx.bus.publish('identity')
}
