import type { Context } from '../platform/context.ts'

/** What a person may want to look up after a theft was found. */
const keepMs = 90 * 24 * 3_600_000

/** Forgets sessions that could not have been used for ninety days, and recovery codes that were used before that. */
export async function pruneSessions(ctx: Context): Promise<void> {
  const before = ctx.clock.now() - keepMs
  await ctx.db.kysely.deleteFrom('sessions').where('expiresAt', '<', before).execute()
  await ctx.db.kysely.deleteFrom('recoveryCodes').where('usedAt', '<', before).execute()
}
