import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import { reapWorkers, tellOf } from '../jobs/jobs.ts'
import { type Actor, system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { revoking } from '../platform/revocation.ts'

/** How long an ephemeral worker may give no sign of life; it polls or beats every half minute, and its leases run out after one. */
export const retireAfterMs = 900_000
const retireBatch = 200

type Action = 'worker.revoked' | 'worker.signed_off' | 'worker.retired'

/**
 * Cuts workers off in the given transaction, and takes back what they hold; answers how many, and the jobs, of which the caller tells after the commit. Passed over is who
 * is cut off already or, with `silentSince`, was seen after that. The rows stay: history and audit keep their names.
 */
export async function revokeIn(
  ctx: Context,
  tx: Db,
  actor: Actor,
  workerIds: readonly string[],
  action: Action,
  silentSince?: number,
): Promise<{ revokedWorkers: number; jobIds: string[] }> {
  const revoked: string[] = []
  for (const id of workerIds) if (await revokeRow(ctx, tx, actor, id, action, silentSince)) revoked.push(id)
  // Of all of them at once: who holds a counter must not ask for a worker or a lease any more, or a completion and this would wait for each other.
  return { revokedWorkers: revoked.length, jobIds: await reapWorkers(ctx, tx, revoked) }
}

async function revokeRow(
  ctx: Context,
  tx: Db,
  actor: Actor,
  workerId: string,
  action: Action,
  silentSince: number | undefined,
): Promise<boolean> {
  let live = tx
    .updateTable('workers')
    .set({ revokedAt: ctx.clock.now() })
    .where('id', '=', workerId)
    .where('revokedAt', 'is', null)
  if (silentSince !== undefined)
    live = live.where((eb) => eb(eb.fn.coalesce('lastSeenAt', 'enrolledAt'), '<', silentSince))
  const worker = await live.returning('teamId').executeTakeFirst()
  if (worker === undefined) return false
  await recordAudit(ctx, tx, actor, { action, target: { kind: 'worker', id: workerId }, teamId: worker.teamId })
  const payload = { workerId, reason: action.slice('worker.'.length) }
  await enqueueEvent(ctx, tx, { topic: 'worker.revoked', teamId: worker.teamId, payload })
  return true
}

async function cutOff(
  ctx: Context,
  actor: Actor,
  workerId: string,
  action: Action,
  silentSince?: number,
): Promise<boolean> {
  const { revokedWorkers, jobIds } = await revoking(ctx, actor, async (tx, revoke) => {
    const outcome = await revokeIn(ctx, tx, actor, [workerId], action, silentSince)
    // No person's rights: it is for the polls, here and on other replicas.
    if (outcome.revokedWorkers > 0) await revoke({})
    return outcome
  })
  tellOf(ctx, jobIds)
  return revokedWorkers > 0
}

/** Cuts a worker off: from this commit on it is refused and its poll ends, and with it what it holds goes back to the queue. */
export async function revokeWorker(ctx: Context, actor: Actor, workerId: string): Promise<void> {
  if (!(await cutOff(ctx, actor, workerId, 'worker.revoked'))) throw new AppError('worker_not_found', { workerId })
}

/** The end that a worker makes of itself, and of no other: who it is says the signature alone. */
export async function signOff(ctx: Context, actor: Actor): Promise<void> {
  if (!(await cutOff(ctx, actor, actor.id ?? '', 'worker.signed_off'))) throw new AppError('worker_revoked')
}

/** When this process began to watch, and last looked. */
const watches = new WeakMap<Context, { sinceMs: number; lookedMs: number }>()

/**
 * Retires ephemeral workers that gave no sign of life for 15 minutes: what killed them kept them from signing off. A server that was away for a while,
 * stopped or asleep, watches as long itself before it calls anybody silent: nobody could have reached it.
 */
export async function retireSilent(ctx: Context): Promise<number> {
  const now = ctx.clock.now()
  const before = watches.get(ctx)
  const wasAway = before === undefined || now - before.lookedMs > retireAfterMs / 3
  const sinceMs = wasAway ? now : before.sinceMs
  watches.set(ctx, { sinceMs, lookedMs: now })
  const silentSince = now - retireAfterMs
  if (sinceMs > silentSince) return 0
  const silent = await ctx.db.kysely
    .selectFrom('workers')
    .select('id')
    .where('ephemeral', '=', 1)
    .where('revokedAt', 'is', null)
    .where((eb) => eb(eb.fn.coalesce('lastSeenAt', 'enrolledAt'), '<', silentSince))
    .orderBy('id')
    .limit(retireBatch)
    .execute()
  let retired = 0
  for (const { id } of silent) {
    try {
      if (await cutOff(ctx, system, id, 'worker.retired', silentSince)) retired++
    } catch (error) {
      // One that fails keeps none of the others.
      ctx.log.error({ event: 'worker_not_retired', workerId: id }, error)
    }
  }
  return retired
}
