import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import { defaultPool } from '@hivesync/contracts/jobs.ts'
import { type createEnrolment as contract, type Enrolment, enrolmentLife } from '@hivesync/contracts/workers.ts'
import type { Selectable } from 'kysely'
import { recordAudit } from '../audit/audit.ts'
import { tellOf } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import { revokeIn } from './revoke.ts'

const defaultTtlSeconds = 3600

/** Makes an enrolment token, for one machine unless told otherwise; only its hash is kept. The workers of a fleet are bound to its pool. */
export async function createEnrolment(ctx: Context, actor: Actor, body: BodyOf<typeof contract>) {
  const { maxUses = 1, ephemeral = false, ttlSeconds = defaultTtlSeconds } = body
  if (maxUses === 1 && ttlSeconds > enrolmentLife.oneSeconds) {
    const message = `must be at most ${enrolmentLife.oneSeconds} for a token of one use`
    throw new AppError('invalid_request', {}, { fields: [{ path: 'body/ttlSeconds', message }] })
  }
  const enrolmentToken = `hse_${ctx.random.token()}`
  const now = ctx.clock.now()
  const id = ctx.random.id()
  const expiresAt = now + ttlSeconds * 1000
  const pool = body.pool ?? (maxUses > 1 || ephemeral ? defaultPool : null)
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
      fleet: { maxUses, pool, ephemeral: ephemeral ? 1 : 0 },
    })
    await recordAudit(ctx, tx, actor, {
      action: 'worker.enrolment_created',
      target: { kind: 'enrolment', id },
      teamId: body.teamId ?? null,
      details: { maxUses, pool, ephemeral },
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
  /** For one worker of any pool, that stays, unless given. */
  fleet?: { maxUses: number; pool: string | null; ephemeral: number }
}

export async function insertEnrolment(tx: Db, { token, fleet, ...row }: NewEnrolment): Promise<void> {
  await tx
    .insertInto('workerEnrolments')
    .values({ ...row, ...fleet, tokenHash: sha256Hex(token), usedAt: null, workerId: null })
    .execute()
}

export async function listEnrolments(ctx: Context, query: { limit?: string; cursor?: string }) {
  const request = pageRequest(query)
  const db = ctx.db.kysely
  let rows = db
    .selectFrom('workerEnrolments')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  if (request.after !== undefined) rows = rows.where('id', '<', request.after)
  const found = await rows.execute()
  const workers = await countWorkers(
    db,
    found.map(({ id }) => id),
  )
  const now = ctx.clock.now()
  return toPage(
    found,
    request,
    ({ id }) => id,
    (row) => toEnrolment(row, workers.get(row.id) ?? 0, now),
  )
}

async function countWorkers(db: Db, enrolmentIds: readonly string[]): Promise<Map<string | null, number>> {
  if (enrolmentIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('workers')
    .select((eb) => ['enrolmentId', eb.fn.countAll<number>().as('count')])
    .where('enrolmentId', 'in', enrolmentIds)
    .where('revokedAt', 'is', null)
    .groupBy('enrolmentId')
    .execute()
  return new Map(rows.map(({ enrolmentId, count }) => [enrolmentId, count]))
}

function toEnrolment(row: Selectable<Schema['workerEnrolments']>, workers: number, now: number): Enrolment {
  // A server of the version before counts no uses.
  const uses = row.usedAt === null ? row.uses : Math.max(1, row.uses)
  return {
    id: row.id,
    name: row.name,
    teamId: row.teamId,
    state:
      row.revokedAt !== null ? 'revoked' : uses >= row.maxUses ? 'used' : row.expiresAt <= now ? 'expired' : 'usable',
    pool: row.pool,
    ephemeral: row.ephemeral === 1,
    maxUses: row.maxUses,
    uses,
    workers,
    createdAt: isoTime(row.createdAt),
    expiresAt: isoTime(row.expiresAt),
    lastUsedAt: isoTime(row.usedAt),
    revokedAt: isoTime(row.revokedAt),
  }
}

/**
 * Ends a token: from this commit on nobody enrols with it. With `workers`, every worker that did is cut off in the same commit, one that enrols at this
 * moment included: it comes before, and is found, or after, and is refused. Doing it again is no error, so the workers can still be cut off later.
 */
export async function revokeEnrolment(
  ctx: Context,
  actor: Actor,
  enrolmentId: string,
  body: { workers?: boolean },
): Promise<{ id: string; revokedWorkers: number }> {
  const now = ctx.clock.now()
  const { revokedWorkers, jobIds } = await revoking(ctx, actor, async (tx, revoke) => {
    // Waits for those who are enrolling with it: they hold this row.
    const enrolment = await tx
      .updateTable('workerEnrolments')
      .set((eb) => ({ revokedAt: eb.fn.coalesce('revokedAt', eb.val(now)) }))
      .where('id', '=', enrolmentId)
      .returning('teamId')
      .executeTakeFirst()
    if (enrolment === undefined) throw new AppError('enrolment_not_found', { reason: enrolmentId })
    const ids = body.workers === true ? await listEnrolled(tx, enrolmentId) : []
    const outcome = await revokeIn(ctx, tx, actor, ids, 'worker.revoked')
    await recordAudit(ctx, tx, actor, {
      action: 'worker.enrolment_revoked',
      target: { kind: 'enrolment', id: enrolmentId },
      teamId: enrolment.teamId,
      details: { revokedWorkers: outcome.revokedWorkers },
    })
    if (outcome.revokedWorkers > 0) await revoke({})
    return outcome
  })
  tellOf(ctx, jobIds)
  return { id: enrolmentId, revokedWorkers }
}

async function listEnrolled(tx: Db, enrolmentId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('workers')
    .select('id')
    .where('enrolmentId', '=', enrolmentId)
    .where('revokedAt', 'is', null)
    .orderBy('id')
    .execute()
  return rows.map(({ id }) => id)
}
