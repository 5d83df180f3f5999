import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { keyLifeMs } from './key-life.ts'

const defaultTtlSeconds = 3600

/** Makes a one-time enrolment token; only its hash is kept. */
export async function createEnrolment(
  ctx: Context,
  actor: Actor,
  body: { name?: string; teamId?: string; ttlSeconds?: number },
) {
  const enrolmentToken = `hse_${ctx.random.token()}`
  const now = ctx.clock.now()
  const id = ctx.random.id()
  const expiresAt = now + (body.ttlSeconds ?? defaultTtlSeconds) * 1000
  await ctx.db.transaction(async (tx) => {
    if (
      body.teamId !== undefined &&
      (await tx.selectFrom('teams').select('id').where('id', '=', body.teamId).executeTakeFirst()) === undefined
    )
      throw new AppError('team_not_found')
    await insertEnrolment(tx, {
      id,
      token: enrolmentToken,
      name: body.name ?? null,
      teamId: body.teamId ?? null,
      createdBy: actor.userId,
      createdAt: now,
      expiresAt,
    })
    await recordAudit(ctx, tx, actor, {
      action: 'worker.enrolment_created',
      target: { kind: 'enrolment', id },
      teamId: body.teamId ?? null,
    })
  })
  return { id, enrolmentToken, expiresAt: isoTime(expiresAt) }
}

interface NewEnrolment {
  id: string
  token: string
  name: string | null
  teamId: string | null
  createdBy: string | null
  createdAt: number
  expiresAt: number
}

export async function insertEnrolment(tx: Db, { token, ...row }: NewEnrolment): Promise<void> {
  await tx
    .insertInto('workerEnrolments')
    .values({ ...row, tokenHash: sha256Hex(token), usedAt: null, workerId: null })
    .execute()
}

/** Trades the token for an identity, once: of two machines that use one token at the same moment, one is refused. */
export async function enrolWorker(
  ctx: Context,
  actor: Actor,
  body: { enrolmentToken: string; name: string; publicKey: string },
): Promise<{ workerId: string; name: string }> {
  requirePublicKey(body.publicKey)
  try {
    return await ctx.db.transaction((tx) => enrolIn(ctx, tx, actor, body))
  } catch (error) {
    const isCopy = isUniqueViolation(error) !== undefined
    if (!isCopy && !(error instanceof AppError)) throw error
    // The key pair of another worker: a copied key store. Told like a bad token, for the key is not a secret.
    const reason = isCopy ? 'public key in use' : 'unknown, used or expired'
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
  const enrolment = await tx
    .updateTable('workerEnrolments')
    .set({ usedAt: now })
    .where('tokenHash', '=', sha256Hex(body.enrolmentToken))
    .where('usedAt', 'is', null)
    .where('expiresAt', '>', now)
    .returning(['id', 'name', 'teamId', 'createdBy'])
    .executeTakeFirst()
  if (enrolment === undefined || !(await isStillAdmin(tx, enrolment.createdBy)))
    throw new AppError('invalid_enrolment_token')
  const workerId = ctx.random.id()
  const name = enrolment.name ?? body.name
  await tx
    .insertInto('workers')
    .values({
      id: workerId,
      name,
      teamId: enrolment.teamId,
      publicKey: body.publicKey,
      enrolledAt: now,
      enrolledBy: enrolment.createdBy,
      keyExpiresAt: now + keyLifeMs,
    })
    .execute()
  await tx.updateTable('workerEnrolments').set({ workerId }).where('id', '=', enrolment.id).execute()
  const worker: Actor = { ...nobody, kind: 'worker', id: workerId, requestId: actor.requestId, ip: actor.ip }
  await recordAudit(ctx, tx, worker, {
    action: 'worker.enrolled',
    target: { kind: 'worker', id: workerId },
    teamId: enrolment.teamId,
  })
  return { workerId, name }
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
