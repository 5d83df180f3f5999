import type { Context } from '../platform/context.ts'
import { policy } from './policy.ts'
import { deleteExpiredKeys, deleteOldDeliveries } from './queries.ts'

const batch = 1000

/** Forgets deliveries, with their attempts, that were made over 30 days ago and have ended, and keys that sign no more. */
export async function pruneWebhooks(ctx: Context): Promise<void> {
  const now = ctx.clock.now()
  await deleteExpiredKeys(ctx.db.kysely, now)
  const before = smallestIdOf(now - policy.retentionMs)
  // A batch at a time, so that nobody else waits for long.
  while ((await deleteOldDeliveries(ctx.db.kysely, before, batch)) === batch);
}

/** A text below every UUIDv7 of that millisecond and above all earlier ones: their first 48 bits are the time (RFC 9562 §5.7). */
function smallestIdOf(at: number): string {
  const hex = Math.max(0, at).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7`
}
