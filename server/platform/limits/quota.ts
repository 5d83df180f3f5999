import { sql } from 'kysely'
import type { Context } from '../context.ts'
import type { Db } from '../db/db.ts'

/** At most `most` of what `key` names in words within `windowMs`, which begins with the first; a day is the longest. Stored is the key's MAC. */
export interface Quota {
  readonly key: string
  readonly most: number
  readonly windowMs: number
}

/** Takes one from the quota; false when it is used up. Of any number of calls at once exactly as many are answered true as it allows. */
export async function takeFromQuota(ctx: Context, tx: Db, quota: Quota): Promise<boolean> {
  const now = ctx.clock.now()
  const end = now + quota.windowMs
  // One that ends later than a window from now was begun before the clock was set back.
  const isOver = sql<boolean>`(login_throttles.blocked_until <= ${now} or login_throttles.blocked_until > ${end})`
  const { failures: taken } = await tx
    .insertInto('loginThrottles')
    .values({ key: ctx.keyring.mac('throttle', `quota\n${quota.key}`), failures: 1, lastAt: now, blockedUntil: end })
    .onConflict((conflict) =>
      conflict.column('key').doUpdateSet({
        failures: sql<number>`case when ${isOver} then 1 else login_throttles.failures + 1 end`,
        blockedUntil: sql<number>`case when ${isOver} then ${end} else login_throttles.blocked_until end`,
        lastAt: now,
      }),
    )
    .returning('failures')
    .executeTakeFirstOrThrow()
  return taken <= quota.most
}
