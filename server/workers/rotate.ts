import type { Worker } from '@hivesync/contracts/workers.ts'
import { isKeyRotationProven } from '@hivesync/protocol/key-rotation.ts'
import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { requirePublicKey } from './enrol.ts'
import { keyLifeOf, overlapMs, requestedLifeMs } from './key-life.ts'
import { countRunning, toWorker } from './workers.ts'

interface Change {
  publicKey: string
  proof: string
}

/**
 * Replaces a worker's key. Only a request signed with the present key does; the same change asked for again, as by a worker that never got the answer, is
 * answered alike and changes nothing. A refusal is audited too: it may be somebody with a stolen key.
 */
export async function rotateKey(ctx: Context, actor: Actor, change: Change): Promise<{ keyExpiresAt: string }> {
  requirePublicKey(change.publicKey)
  try {
    return await ctx.db.transaction((tx) => rotateIn(ctx, tx, actor, change))
  } catch (error) {
    const isTaken = isUniqueViolation(error) !== undefined
    if (!isTaken && !(error instanceof AppError && error.code === 'worker_key_refused')) throw error
    const refusal = error instanceof AppError ? error : refuse('another worker has that key')
    const target = { kind: 'worker', id: actor.id ?? '' }
    const details = { reason: String(refusal.details.reason) }
    const act = { action: 'worker.key_rotated', target, outcome: 'refused', details } as const
    await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
    throw refusal
  }
}

async function rotateIn(ctx: Context, tx: Db, actor: Actor, { publicKey, proof }: Change) {
  const workerId = actor.id ?? ''
  const columns = ['teamId', 'publicKey', 'previousPublicKey', 'keyExpiresAt', 'ephemeral'] as const
  const live = tx.selectFrom('workers').select(columns).where('id', '=', workerId).where('revokedAt', 'is', null)
  const worker = await forUpdate(tx, live).executeTakeFirst()
  if (worker === undefined) throw new AppError('worker_revoked')
  const newKey = importPublicKey(publicKey)
  const isProven = (presentKey: string) =>
    isKeyRotationProven({ workerId, presentKey, newKey: publicKey }, proof, newKey)
  if (publicKey === worker.publicKey) {
    const isRepeated = worker.previousPublicKey !== null && isProven(worker.previousPublicKey)
    if (isRepeated && worker.keyExpiresAt !== null) return { keyExpiresAt: isoTime(worker.keyExpiresAt) }
    throw refuse('the worker has that key already')
  }
  // The key before it works on for a while, but must not be able to name its successor once more.
  if (actor.workerKey !== worker.publicKey) throw refuse('signed with a key that was replaced')
  if (!isProven(worker.publicKey)) throw refuse('the proof of the new key does not fit')
  const isOthers = tx.selectFrom('workers').select('id').where('previousPublicKey', '=', publicKey)
  if ((await isOthers.executeTakeFirst()) !== undefined) throw refuse('another worker has that key')
  const now = ctx.clock.now()
  const keyExpiresAt = now + keyLifeOf(worker)
  await tx
    .updateTable('workers')
    .set({
      publicKey,
      keyExpiresAt,
      previousPublicKey: worker.publicKey,
      previousKeyUntil: Math.min(now + overlapMs, worker.keyExpiresAt ?? Number.MAX_SAFE_INTEGER),
    })
    .where('id', '=', workerId)
    .execute()
  await recordAudit(ctx, tx, actor, {
    action: 'worker.key_rotated',
    target: { kind: 'worker', id: workerId },
    teamId: worker.teamId,
  })
  return { keyExpiresAt: isoTime(keyExpiresAt) }
}

function refuse(reason: string): AppError {
  return new AppError('worker_key_refused', { reason }, { detail: `The change was refused: ${reason}` })
}

/** Has the worker told at its next poll that its key is due; should it not change it, the key ends within a week. Asking again never gives it longer. */
export async function requestKeyRotation(ctx: Context, actor: Actor, workerId: string): Promise<Worker> {
  const now = ctx.clock.now()
  const row = await ctx.db.transaction(async (tx) => {
    const live = tx.selectFrom('workers').selectAll().where('id', '=', workerId).where('revokedAt', 'is', null)
    const worker = await forUpdate(tx, live).executeTakeFirst()
    if (worker === undefined) throw new AppError('worker_not_found', { workerId })
    const keyExpiresAt = Math.min(worker.keyExpiresAt ?? Number.MAX_SAFE_INTEGER, now + requestedLifeMs)
    await tx.updateTable('workers').set({ keyExpiresAt }).where('id', '=', workerId).execute()
    await recordAudit(ctx, tx, actor, {
      action: 'worker.key_rotation_requested',
      target: { kind: 'worker', id: workerId },
      teamId: worker.teamId,
    })
    return { ...worker, keyExpiresAt }
  })
  const running = await countRunning(ctx.db.kysely, [workerId])
  return toWorker(row, running.get(workerId) ?? 0, now)
}
