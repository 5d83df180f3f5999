import type { WaitingFor } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import type { JobRow } from './queries.ts'

/** A worker that has not polled or beaten for this long counts as away; it polls at least every 25 s. */
export const workerAwayMs = 60_000

/** Why a queued job has not started, and what would change that: the first obstacle on the way the claim takes. */
export async function waitingFor(ctx: Context, job: JobRow): Promise<WaitingFor> {
  const now = ctx.clock.now()
  const db = ctx.db.kysely
  const queued = await db.selectFrom('jobQueue').select('runAt').where('jobId', '=', job.id).executeTakeFirst()
  if (queued !== undefined && queued.runAt > now) {
    return why('retry_delay', `Waits ${Math.ceil((queued.runAt - now) / 1000)} s before it is tried again`, null)
  }
  const workers = await db
    .selectFrom('workers')
    .select(['id', 'labels', 'kinds', 'slots', 'isolation', 'lastSeenAt', 'drainingAt'])
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('teamId', 'is', null), eb('teamId', '=', job.teamId)]))
    .execute()
  if (workers.length === 0) return why('no_worker', 'No worker is enrolled', 'Enrol one: hivesync worker enrol')
  const online = workers.filter(
    (worker) => worker.lastSeenAt !== null && worker.lastSeenAt > now - workerAwayMs && worker.drainingAt === null,
  )
  if (online.length === 0)
    return why(
      'no_worker_online',
      `None of the ${workers.length} enrolled workers is online`,
      'Start one: hivesync worker start',
    )

  const safe = online.filter((worker) => worker.isolation !== null && JSON.parse(worker.isolation).level !== 'none')
  if (safe.length === 0) {
    const reason: unknown = online
      .map((worker) => (worker.isolation === null ? null : JSON.parse(worker.isolation).reason))
      .find((text) => text !== null)
    return why(
      'isolation',
      `No worker online has a working sandbox${typeof reason === 'string' ? `: ${reason}` : ''}`,
      'Run hivesync doctor on the worker; it names the missing part',
    )
  }
  const wanted: string[] = JSON.parse(job.labels)
  const able = safe.filter(
    (worker) =>
      JSON.parse(worker.kinds).includes(job.kind) && wanted.every((label) => JSON.parse(worker.labels).includes(label)),
  )
  if (able.length === 0)
    return why(
      'labels',
      `No worker online takes ${job.kind} jobs${wanted.length > 0 ? ` and carries ${wanted.join(', ')}` : ''}`,
      'Start a worker with these labels, or submit without them',
    )

  const share = await db
    .selectFrom('teamShares')
    .select(['running', 'maxRunning'])
    .where('teamId', '=', job.teamId)
    .executeTakeFirst()
  if (share !== undefined && share.running >= share.maxRunning) {
    return why(
      'team_limit',
      `The team runs ${share.running} of ${share.maxRunning} jobs that its plan allows`,
      'It starts when one of them ends',
    )
  }
  const busy = await db
    .selectFrom('jobLeases')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where(
      'workerId',
      'in',
      able.map((worker) => worker.id),
    )
    .executeTakeFirstOrThrow()
  const slots = able.reduce((sum, worker) => sum + worker.slots, 0)
  if (busy.count >= slots)
    return why(
      'workers_busy',
      `All ${slots} slots of the workers that could take it are busy`,
      'It starts when one is free; more workers help',
    )
  return why('turn', 'Its turn comes with the next free slot', null)
}

function why(reason: WaitingFor['reason'], message: string, fix: string | null): WaitingFor {
  return { reason, message, fix }
}
