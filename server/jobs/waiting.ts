import type { WaitingFor } from '@hivesync/contracts/jobs.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { countPlace } from './place.ts'
import type { JobRow } from './queries.ts'
import { findPause } from './queues.ts'

/** A worker that has not polled or beaten for this long counts as away; it polls at least every 25 s. */
export const workerAwayMs = 60_000

/** Why a queued job has not started, and what would change that: the first obstacle on the way the claim takes. */
export async function waitingFor(ctx: Context, job: JobRow): Promise<WaitingFor> {
  const now = ctx.clock.now()
  const db = ctx.db.kysely
  const queued = await db
    .selectFrom('jobQueue')
    .select(['runAt', 'rank'])
    .where('jobId', '=', job.id)
    .executeTakeFirst()
  if (queued !== undefined && queued.runAt > now)
    return why('retry_delay', `Waits ${Math.ceil((queued.runAt - now) / 1000)} s before it is tried again`, null)
  const workers = await listWorkers(db, job.teamId)
  const obstacle = (await findQueueLimit(db, job)) ?? findMissing(workers, job, now) ?? (await findTeamLimit(db, job))
  if (obstacle !== undefined) return obstacle
  const able = workers.filter((worker) => stages.every(({ passes }) => passes(worker, job, now)))
  const busy = await countBusy(db, able)
  const slots = able.reduce((sum, worker) => sum + worker.slots, 0)
  if (busy >= slots)
    return why(
      'workers_busy',
      `All ${slots} slots of the workers that could take it are busy`,
      'It starts when one is free; more workers help',
    )
  return why('turn', turnMessage(await countPlace(db, job, queued?.rank ?? 0, now)), null)
}

function turnMessage(before: number): string {
  if (before === 0) return 'Its turn comes with the next free slot'
  return `About ${before} ${before === 1 ? 'job goes' : 'jobs go'} before it, by priority, age and the fair share of its team`
}

interface Wish {
  kind: string
  labels: string
  pool: string
}

type WorkerRow = Awaited<ReturnType<typeof listWorkers>>[number]

/** The workers that may serve a team: shared ones and its own. */
function listWorkers(db: Db, teamId: string) {
  return db
    .selectFrom('workers')
    .select(['id', 'teamId', 'labels', 'kinds', 'pool', 'slots', 'isolation', 'lastSeenAt', 'drainingAt', 'refusing'])
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('teamId', 'is', null), eb('teamId', '=', teamId)]))
    .execute()
}

interface Stage {
  passes(worker: WorkerRow, wish: Wish, now: number): boolean
  /** What is said when none of those that came this far passes. */
  miss(left: readonly WorkerRow[], wish: Wish): WaitingFor
}

/** What a worker must be to take a job, in the order in which it is best mended. */
const stages: readonly Stage[] = [
  {
    passes: (worker, { pool }) => worker.pool === pool,
    miss: (_, { pool }) =>
      why(
        'pool',
        `No worker is enrolled in the pool ${pool}`,
        `Start one with HIVESYNC_WORKER_POOL=${pool}, or submit to a pool that has some`,
      ),
  },
  {
    passes: ({ lastSeenAt, drainingAt }, _, now) =>
      lastSeenAt !== null && lastSeenAt > now - workerAwayMs && drainingAt === null,
    miss: ({ length }, { pool }) =>
      why(
        'no_worker_online',
        `None of the ${length} enrolled workers${pool === 'default' ? '' : ` of the pool ${pool}`} is online`,
        'Start one: hivesync worker start',
      ),
  },
  {
    passes: ({ isolation }) => isolation !== null && JSON.parse(isolation).level !== 'none',
    miss: (left) => {
      const reasons = left.map(({ isolation }) => (isolation === null ? null : JSON.parse(isolation).reason))
      const reason: unknown = reasons.find((text) => text !== null)
      return why(
        'isolation',
        `No worker online has a working sandbox${typeof reason === 'string' ? `: ${reason}` : ''}`,
        'Run hivesync doctor on the worker; it names the missing part',
      )
    },
  },
  {
    passes: ({ kinds, labels }, wish) => {
      const wanted: string[] = JSON.parse(wish.labels)
      const carried: string[] = JSON.parse(labels)
      return JSON.parse(kinds).includes(wish.kind) && wanted.every((label) => carried.includes(label))
    },
    miss: (_, { kind, labels }) => {
      const wanted: string[] = JSON.parse(labels)
      return why(
        'labels',
        `No worker online takes ${kind} jobs${wanted.length > 0 ? ` and carries ${wanted.join(', ')}` : ''}`,
        'Start a worker with these labels, or submit without them',
      )
    },
  },
  {
    passes: ({ refusing }) => refusing === null,
    miss: (left) =>
      why(
        'worker_refusing',
        `Every worker that could take it takes no jobs at the moment: ${left[0]?.refusing ?? ''}`,
        'See hivesync worker ls; mend what it says on the worker',
      ),
  },
]

function findMissing(workers: readonly WorkerRow[], wish: Wish, now: number): WaitingFor | undefined {
  if (workers.length === 0) return why('no_worker', 'No worker is enrolled', 'Enrol one: hivesync worker enrol')
  let left = workers
  for (const { passes, miss } of stages) {
    const passed = left.filter((worker) => passes(worker, wish, now))
    if (passed.length === 0) return miss(left, wish)
    left = passed
  }
  return undefined
}

async function findQueueLimit(db: Db, { projectId, kind }: JobRow): Promise<WaitingFor | undefined> {
  const pause = await findPause(db, kind)
  if (pause !== undefined)
    return why(
      'queue_paused',
      `An administrator paused all ${kind} jobs at ${isoTime(pause.pausedAt)}${pause.reason === null ? '' : `: ${pause.reason}`}`,
      `An administrator resumes them: hivesync queue resume ${kind} --all-projects`,
    )
  const queue = await db
    .selectFrom('queueCounters')
    .select(['running', 'maxRunning', 'pausedAt'])
    .where('projectId', '=', projectId)
    .where('kind', '=', kind)
    .executeTakeFirst()
  if (queue === undefined) return undefined
  const { running, maxRunning, pausedAt } = queue
  if (pausedAt !== null)
    return why(
      'queue_paused',
      `An owner of the project paused its ${kind} jobs at ${isoTime(pausedAt)}`,
      `An owner resumes them: hivesync queue resume ${kind}`,
    )
  if (maxRunning === null || running < maxRunning) return undefined
  return why(
    'project_limit',
    `The project runs ${running} of ${maxRunning} ${kind} jobs that it allows itself`,
    `It starts when one of them ends; an owner changes the limit: hivesync queue limit ${kind} N`,
  )
}

async function findTeamLimit(db: Db, { teamId }: JobRow): Promise<WaitingFor | undefined> {
  const share = await db
    .selectFrom('teamShares')
    .select(['running', 'maxRunning'])
    .where('teamId', '=', teamId)
    .executeTakeFirst()
  if (share === undefined || share.running < share.maxRunning) return undefined
  return why(
    'team_limit',
    `The team runs ${share.running} of ${share.maxRunning} jobs that its plan allows`,
    'It starts when one of them ends',
  )
}

async function countBusy(db: Db, workers: readonly WorkerRow[]): Promise<number> {
  const ids = workers.map((worker) => worker.id)
  const { count } = await db
    .selectFrom('jobLeases')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('workerId', 'in', ids)
    .executeTakeFirstOrThrow()
  return count
}

function why(reason: WaitingFor['reason'], message: string, fix: string | null): WaitingFor {
  return { reason, message, fix }
}
