import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { keyLifeOf } from './key-life.ts'

/** Trades the token for an identity, as often as the token allows: of any number of machines that use it at the same moment, exactly that many get one. */
export async function enrolWorker(
  ctx: Context,
  actor: Actor,
  body: { enrolmentToken: string; name: string; publicKey: string },
): Promise<ReplyOf<typeof protocol.enrolWorker>> {
  requirePublicKey(body.publicKey)
  try {
    return await ctx.db.transaction((tx) => enrolIn(ctx, tx, actor, body))
  } catch (error) {
    const isCopy = isUniqueViolation(error) !== undefined
    if (!isCopy && !(error instanceof AppError)) throw error
    const before = await findUnheard(ctx, body)
    if (before !== undefined) return before
    // The key pair of another worker: a copied key store. Told like a bad token, for the key is not a secret.
    const reason = isCopy ? 'public key in use' : 'unknown, used, expired or revoked'
    const act = { action: 'worker.enrolled', outcome: 'refused', details: { reason } } as const
    await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
    throw new AppError('invalid_enrolment_token', { reason })
  }
}

async function enrolIn(
  ctx: Context,
  tx: Db,
  actor: Actor,
  body: { enrolmentToken: string; name: string; publicKey: string },
) {
  const now = ctx.clock.now()
  const enrolment = await useToken(tx, body.enrolmentToken, now)
  if (enrolment === undefined || !(await isStillAdmin(tx, enrolment.createdBy)))
    throw new AppError('invalid_enrolment_token')
  const workerId = ctx.random.id()
  const { ephemeral, pool, teamId } = enrolment
  const name = nameOf(enrolment) ?? body.name
  await tx
    .insertInto('workers')
    .values({
      id: workerId,
      name,
      teamId,
      publicKey: body.publicKey,
      enrolledAt: now,
      enrolledBy: enrolment.createdBy,
      keyExpiresAt: now + keyLifeOf(enrolment),
      enrolmentId: enrolment.id,
      boundPool: pool,
      ephemeral,
      ...(pool !== null && { pool }),
    })
    .execute()
  await tx
    .updateTable('workerEnrolments')
    .set({ workerId })
    .where('id', '=', enrolment.id)
    .where('workerId', 'is', null)
    .execute()
  const worker: Actor = { ...nobody, kind: 'worker', id: workerId, requestId: actor.requestId, ip: actor.ip }
  await recordAudit(ctx, tx, worker, {
    action: 'worker.enrolled',
    target: { kind: 'worker', id: workerId },
    teamId,
    details: { enrolmentId: enrolment.id, use: enrolment.uses },
  })
  await enqueueEvent(ctx, tx, { topic: 'worker.enrolled', teamId, payload: { workerId } })
  return answerOf(workerId, { ...enrolment, name })
}

/** Counts a use of the token in the one statement that judges it, so that uses at the same moment wait for one another. */
function useToken(tx: Db, token: string, now: number) {
  return (
    tx
      .updateTable('workerEnrolments')
      .set((eb) => ({ uses: eb('uses', '+', 1), usedAt: now }))
      .where('tokenHash', '=', sha256Hex(token))
      .where('revokedAt', 'is', null)
      .where('expiresAt', '>', now)
      .whereRef('uses', '<', 'maxUses')
      // A server of the version before counts no uses.
      .where((eb) => eb.or([eb('usedAt', 'is', null), eb('maxUses', '>', 1)]))
      .returning(['id', 'name', 'teamId', 'createdBy', 'pool', 'ephemeral', 'maxUses', 'uses'])
      .executeTakeFirst()
  )
}

/** The worker that the same token and key enrolled before, and that never heard of it: the answer was lost, and it asks again. */
async function findUnheard(ctx: Context, { enrolmentToken, publicKey }: { enrolmentToken: string; publicKey: string }) {
  const worker = await ctx.db.kysely
    .selectFrom('workers')
    .innerJoin('workerEnrolments', 'workerEnrolments.id', 'workers.enrolmentId')
    .select(['workers.id', 'workers.name', 'workers.ephemeral', 'workerEnrolments.pool', 'maxUses'])
    .where('publicKey', '=', publicKey)
    .where('tokenHash', '=', sha256Hex(enrolmentToken))
    .where('workers.revokedAt', 'is', null)
    .where('workers.lastSeenAt', 'is', null)
    .where('workerEnrolments.revokedAt', 'is', null)
    .where('workerEnrolments.expiresAt', '>', ctx.clock.now())
    .executeTakeFirst()
  return worker && answerOf(worker.id, worker)
}

function answerOf(
  workerId: string,
  { name, ephemeral, pool, maxUses }: { name: string; ephemeral: number; pool: string | null; maxUses: number },
): ReplyOf<typeof protocol.enrolWorker> {
  return { workerId, name, ephemeral: ephemeral === 1, pool, reusable: maxUses > 1 }
}

/** What the enrolment says counts, not the machine; those of a fleet are numbered. */
function nameOf({ name, maxUses, uses }: { name: string | null; maxUses: number; uses: number }): string | undefined {
  if (name === null) return undefined
  return maxUses > 1 ? `${name}-${uses}` : name
}

/** An enrolment carries the rights of the admin who made it and falls with them; the server's own, for its first worker, is nobody's. */
async function isStillAdmin(tx: Db, createdBy: string | null): Promise<boolean> {
  if (createdBy === null) return true
  const admin = tx
    .selectFrom('users')
    .select('id')
    .where('id', '=', createdBy)
    .where('adminSince', 'is not', null)
    .where('deactivatedAt', 'is', null)
  // Locked: whoever takes the role away at this moment comes before or after.
  return (await forUpdate(tx, admin).executeTakeFirst()) !== undefined
}

export function requirePublicKey(encoded: string): void {
  try {
    importPublicKey(encoded)
  } catch {
    throw new AppError(
      'invalid_request',
      {},
      { fields: [{ path: 'body/publicKey', message: 'must be a raw Ed25519 public key in base64url' }] },
    )
  }
}
