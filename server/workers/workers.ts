import { defaultPool } from '@hivesync/contracts/jobs.ts'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import type { Worker } from '@hivesync/contracts/workers.ts'
import { type Selectable, sql } from 'kysely'
import { recordAudit } from '../audit/audit.ts'
import { type Dispatcher, storable, workerAwayMs } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { isRotationDue } from './key-life.ts'

export { createWorkerAuthenticator } from './authenticate.ts'
export { insertEnrolment } from './enrolments.ts'
export { workerGauges } from './gauges.ts'
export { retireSilent } from './revoke.ts'

type WorkerRow = Selectable<Schema['workers']>

/** Stores what the worker says of itself and waits for work; a draining worker, or one without a proven sandbox, gets none. The wait of one that is revoked ends at once. */
export async function claimJobs(
  ctx: Context,
  dispatcher: Dispatcher,
  actor: Actor,
  body: { report: WorkerReport; freeSlots: number; waitSeconds: number },
  signal: AbortSignal,
): Promise<{ jobs: Claim[]; draining: boolean; rotateKey?: boolean }> {
  const { report } = body
  const worker = await ctx.db.kysely
    .updateTable('workers')
    .set({
      labels: JSON.stringify([...report.labels].sort()),
      kinds: JSON.stringify(report.kinds),
      slots: report.slots,
      version: storable(report.version),
      isolation: JSON.stringify(report.isolation),
      // One of a fleet is bound to the fleet's pool, whatever it says: a stolen token opens no other.
      pool: sql<string>`coalesce(bound_pool, ${report.pool ?? defaultPool})`,
      capabilities: report.capabilities === undefined ? null : storable(JSON.stringify(report.capabilities)),
      clockSkewMs: report.clockSkewMs ?? null,
      refusing: report.refusing === undefined ? null : storable(report.refusing),
      lastSeenAt: ctx.clock.now(),
    })
    .where('id', '=', actor.id ?? '')
    .where('revokedAt', 'is', null)
    .returning(['id', 'teamId', 'drainingAt', 'keyExpiresAt', 'ephemeral', 'pool'])
    .executeTakeFirst()
  if (worker === undefined) throw new AppError('worker_revoked')
  // Fail closed: work goes only to a machine that has shown that it can hold it.
  const mayWork =
    worker.drainingAt === null &&
    report.refusing === undefined &&
    report.isolation.level !== 'none' &&
    report.kinds.length > 0
  const poll = {
    workerId: worker.id,
    teamId: worker.teamId,
    kinds: report.kinds,
    labels: report.labels,
    pool: worker.pool,
    freeSlots: Math.min(body.freeSlots, report.slots),
  }
  const waitMs = body.waitSeconds * 1000
  const wait = untilRevoked(ctx, worker.id, signal)
  try {
    const jobs = mayWork ? await dispatcher.wait(poll, waitMs, wait.signal) : await dispatcher.idle(waitMs, wait.signal)
    // Its leases, if it got any, were taken back by its revocation.
    if (wait.signal.aborted && !signal.aborted) await requireEnrolled(ctx, worker.id)
    const isDue = isRotationDue(worker, ctx.clock.now())
    return { jobs: jobs ?? [], draining: worker.drainingAt !== null, ...(isDue && { rotateKey: true }) }
  } finally {
    wait.end()
  }
}

/** A signal that aborts with the given one, and when the worker is revoked, here or by another replica; also when that cannot be found out. */
function untilRevoked(ctx: Context, workerId: string, signal: AbortSignal): { signal: AbortSignal; end(): void } {
  const controller = new AbortController()
  const unsubscribe = ctx.bus.subscribe('identity', () => {
    requireEnrolled(ctx, workerId).catch(() => controller.abort())
  })
  return { signal: AbortSignal.any([signal, controller.signal]), end: unsubscribe }
}

async function requireEnrolled(ctx: Context, workerId: string): Promise<void> {
  const worker = await ctx.db.kysely
    .selectFrom('workers')
    .select('id')
    .where('id', '=', workerId)
    .where('revokedAt', 'is', null)
    .executeTakeFirst()
  if (worker === undefined) throw new AppError('worker_revoked')
}

export async function listWorkers(ctx: Context, actor: Actor, query: { limit?: string; cursor?: string }) {
  const request = pageRequest(query)
  const db = ctx.db.kysely
  const ownTeams = db
    .selectFrom('teamMembers')
    .select('teamId')
    .where('userId', '=', actor.userId ?? '')
  let rows = db
    .selectFrom('workers')
    .selectAll()
    .where('revokedAt', 'is', null)
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  if (!actor.isAdmin) rows = rows.where((eb) => eb.or([eb('teamId', 'is', null), eb('teamId', 'in', ownTeams)]))
  if (request.after !== undefined) rows = rows.where('id', '<', request.after)
  const page = toPage(
    await rows.execute(),
    request,
    (row) => row.id,
    (row) => row,
  )
  const running = await countRunning(
    db,
    page.items.map((row) => row.id),
  )
  return { ...page, items: page.items.map((row) => toWorker(row, running.get(row.id) ?? 0, ctx.clock.now())) }
}

export async function countRunning(db: Db, workerIds: readonly string[]): Promise<Map<string, number>> {
  if (workerIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('jobLeases')
    .select((eb) => ['workerId', eb.fn.countAll<number>().as('count')])
    .where('workerId', 'in', workerIds)
    .groupBy('workerId')
    .execute()
  return new Map(rows.map((row) => [row.workerId, row.count]))
}

/** Lets a worker finish what it holds; it learns of it with its next poll or beat. Draining twice changes nothing. */
export async function drainWorker(ctx: Context, actor: Actor, workerId: string): Promise<Worker> {
  const now = ctx.clock.now()
  const row = await ctx.db.transaction(async (tx) => {
    const worker = await tx
      .selectFrom('workers')
      .selectAll()
      .where('id', '=', workerId)
      .where('revokedAt', 'is', null)
      .executeTakeFirst()
    if (worker === undefined) throw new AppError('worker_not_found', { workerId })
    if (worker.drainingAt !== null) return worker
    await recordAudit(ctx, tx, actor, {
      action: 'worker.draining',
      target: { kind: 'worker', id: workerId },
      teamId: worker.teamId,
    })
    return tx
      .updateTable('workers')
      .set({ drainingAt: now })
      .where('id', '=', workerId)
      .returningAll()
      .executeTakeFirstOrThrow()
  })
  // A beat of its that is held open ends.
  ctx.bus.publish(`worker:${workerId}`)
  const running = await countRunning(ctx.db.kysely, [workerId])
  return toWorker(row, running.get(workerId) ?? 0, now)
}

export function toWorker(row: WorkerRow, running: number, now: number): Worker {
  const online = row.lastSeenAt !== null && row.lastSeenAt > now - workerAwayMs
  return {
    id: row.id,
    name: row.name,
    teamId: row.teamId,
    state: row.revokedAt !== null ? 'revoked' : !online ? 'offline' : row.drainingAt !== null ? 'draining' : 'online',
    labels: JSON.parse(row.labels),
    kinds: JSON.parse(row.kinds),
    slots: row.slots,
    running,
    version: row.version,
    isolation: row.isolation === null ? null : JSON.parse(row.isolation),
    pool: row.pool,
    capabilities: row.capabilities === null ? null : JSON.parse(row.capabilities),
    clockSkewMs: row.clockSkewMs,
    refusing: row.refusing,
    ephemeral: row.ephemeral === 1,
    enrolmentId: row.enrolmentId,
    keyExpiresAt: isoTime(row.keyExpiresAt),
    enrolledAt: isoTime(row.enrolledAt),
    lastSeenAt: isoTime(row.lastSeenAt),
  }
}
