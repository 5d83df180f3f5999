import type { Selectable } from 'kysely'
import type { Context } from '../platform/context.ts'
import type { Schema } from '../platform/db/schema.ts'

/** How long a worker's key lives. The worker replaces it by itself after two thirds of that, so it may be off for a month and lose nothing. */
export const keyLifeMs = 90 * 86_400_000
/** That of an ephemeral worker, which is retired when it is away for long and so needs no more: a copy of its key is soon worthless. */
export const ephemeralKeyLifeMs = 86_400_000
/** How long the replaced key still works: for requests under way, and for a worker that never got the answer to its change of key. */
export const overlapMs = 600_000
/** What a key whose change was asked for has left at most: long enough for a machine that is off over the weekend. */
export const requestedLifeMs = 7 * 86_400_000

type WorkerKeys = Pick<
  Selectable<Schema['workers']>,
  'publicKey' | 'previousPublicKey' | 'previousKeyUntil' | 'keyExpiresAt'
>

/** The keys that a worker may sign with at this moment, the present one first. */
export function usableKeys(worker: WorkerKeys, now: number): string[] {
  const { publicKey, previousPublicKey, previousKeyUntil } = worker
  const isPreviousGood = previousPublicKey !== null && previousKeyUntil !== null && previousKeyUntil > now
  return isPreviousGood ? [publicKey, previousPublicKey] : [publicKey]
}

export function isKeyExpired({ keyExpiresAt }: WorkerKeys, now: number): boolean {
  return keyExpiresAt !== null && keyExpiresAt <= now
}

export function keyLifeOf({ ephemeral }: { ephemeral: number }): number {
  return ephemeral === 1 ? ephemeralKeyLifeMs : keyLifeMs
}

export function isRotationDue(
  worker: Pick<WorkerKeys, 'keyExpiresAt'> & Pick<Selectable<Schema['workers']>, 'ephemeral'>,
  now: number,
): boolean {
  return worker.keyExpiresAt !== null && worker.keyExpiresAt - now < keyLifeOf(worker) / 3
}

/** Writes down what the use of a key changes: the first use of a new one ends the one before, and the life of one from before keys expired begins. */
export async function noteKeyUse(ctx: Context, workerId: string, worker: WorkerKeys, usedKey: string): Promise<void> {
  const endsPrevious = usedKey === worker.publicKey && worker.previousPublicKey !== null
  if (!endsPrevious && worker.keyExpiresAt !== null) return
  const expiresAt = ctx.clock.now() + keyLifeMs
  await ctx.db.kysely
    .updateTable('workers')
    .set((eb) => ({
      keyExpiresAt: eb.fn.coalesce('keyExpiresAt', eb.val(expiresAt)),
      ...(endsPrevious && { previousPublicKey: null, previousKeyUntil: null }),
    }))
    .where('id', '=', workerId)
    // A change of the key that came between has an overlap of its own.
    .where('publicKey', '=', worker.publicKey)
    .execute()
}
