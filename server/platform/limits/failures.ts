import { sql } from 'kysely'
import type { Context } from '../context.ts'
import type { Db } from '../db/db.ts'
import { AppError } from '../errors.ts'

/** What failures are counted by, and how many are free before each further one costs a wait. */
export interface FailureRule {
  /** Names what is counted in words; stored is its MAC, so that the table tells nobody's name or address. */
  readonly key: string
  readonly free: number
}

/** The wait doubles with each failure beyond the free ones: 1 s, 2 s, 4 s … (NIST SP 800-63B-4 §3.2.2), never more than 15 minutes, so that it cannot be made a lockout. */
const maxWaitMs = 15 * 60_000
/** Failures are forgotten when none came for a day. */
const forgetMs = 24 * 60 * 60_000
const maxDoublings = 20

/**
 * Counts an attempt as failed before it is checked, so that a thousand at once are still counted one by one (reference T8), or refuses
 * with `login_throttled` while one of the rules makes it wait. A refused attempt is not counted: who keeps trying waits no longer than who
 * does not. `count` is done in the same commit, so that what else is counted costs no write of its own, whose time would tell that it was made.
 * Call it outside transactions; who succeeds calls `forgiveAttempt`.
 */
export async function reserveAttempt<T = undefined>(
  ctx: Context,
  rules: readonly FailureRule[],
  count?: (tx: Db) => Promise<T>,
): Promise<T | undefined> {
  // In one order, so that two attempts never wait for each other.
  const keys = rules.map((rule) => ({ ...rule, key: keyOf(ctx, rule) })).sort((a, b) => (a.key < b.key ? -1 : 1))
  return ctx.db.transaction(async (tx) => {
    // Thrown inside, so that a rule counted before the one that refuses is not.
    for (const rule of keys) await countFailure(tx, rule, ctx.clock.now())
    return count?.(tx)
  })
}

async function countFailure(tx: Db, rule: FailureRule, now: number): Promise<void> {
  const counted = await tx
    .insertInto('loginThrottles')
    .values({ key: rule.key, failures: 1, lastAt: now, blockedUntil: 0 })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({
          failures: sql<number>`case when login_throttles.last_at < ${now - forgetMs} then 1 else login_throttles.failures + 1 end`,
          lastAt: now,
          blockedUntil: 0,
        })
        // In the statement that locks the row, so that of many at once the second sees the wait that the first one caused. A wait that is
        // longer than any we give is from before a step back of the clock, and would be a lockout.
        .where(({ or, eb }) =>
          or([eb('loginThrottles.blockedUntil', '<=', now), eb('loginThrottles.blockedUntil', '>', now + maxWaitMs)]),
        ),
    )
    .returning('failures')
    .executeTakeFirst()
  if (counted === undefined) return refuse(tx, rule, now)
  const beyond = counted.failures - rule.free
  if (beyond < 0) return
  const blockedUntil = now + Math.min(maxWaitMs, 1000 * 2 ** Math.min(beyond, maxDoublings))
  await tx.updateTable('loginThrottles').set({ blockedUntil }).where('key', '=', rule.key).execute()
}

async function refuse(tx: Db, rule: FailureRule, now: number): Promise<never> {
  const row = await tx
    .selectFrom('loginThrottles')
    .select('blockedUntil')
    .where('key', '=', rule.key)
    .executeTakeFirst()
  // Forgiven in this very moment: then the shortest wait.
  const seconds = String(Math.max(1, Math.ceil(((row?.blockedUntil ?? now) - now) / 1000)))
  throw new AppError('login_throttled', {}, { headers: { 'retry-after': seconds } })
}

/**
 * Takes an attempt's reservation back because it succeeded: `forget` starts the rule anew, `uncount` only takes this one off. In a
 * transaction that also changes the account, call it first: that is the order of `reserveAttempt`, and no two wait for each other.
 */
export async function forgiveAttempt(
  ctx: Context,
  tx: Db,
  rules: { forget: readonly FailureRule[]; uncount: readonly FailureRule[] },
): Promise<void> {
  const steps = [
    ...rules.forget.map((rule) => ({ key: keyOf(ctx, rule), forgive: forget })),
    ...rules.uncount.map((rule) => ({ key: keyOf(ctx, rule), forgive: uncount })),
  ].sort((a, b) => (a.key < b.key ? -1 : 1))
  for (const { key, forgive } of steps) await forgive(tx, key)
}

async function forget(tx: Db, key: string): Promise<void> {
  await tx.deleteFrom('loginThrottles').where('key', '=', key).execute()
}

async function uncount(tx: Db, key: string): Promise<void> {
  await tx
    .updateTable('loginThrottles')
    .set((eb) => ({ failures: eb('failures', '-', 1), blockedUntil: 0 }))
    .where('key', '=', key)
    .where('failures', '>', 0)
    .execute()
}

/** Removes what has been forgotten. */
export async function pruneFailures(ctx: Context): Promise<void> {
  await ctx.db.kysely
    .deleteFrom('loginThrottles')
    .where('lastAt', '<', ctx.clock.now() - forgetMs)
    .execute()
}

function keyOf(ctx: Context, rule: FailureRule): string {
  return ctx.keyring.mac('throttle', rule.key)
}
