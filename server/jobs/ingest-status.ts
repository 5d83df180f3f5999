import type { JobFailure } from '@hivesync/contracts/jobs.ts'
import { finalStates } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import { getProjectPlan } from '../tiers/tiers.ts'
import { policy } from './policy.ts'
import { workerAwayMs } from './waiting.ts'

/** What happens to a project's ingest jobs: `stuck` is a lease that lives although its worker has missed beats. */
export async function readIngestStatus(
  ctx: Context,
  projectId: string,
  options: { historyLength: number; silentMs: number },
) {
  const db = ctx.db.kysely
  const now = ctx.clock.now()
  const current = await db
    .selectFrom('jobLeases')
    .innerJoin('jobs', 'jobs.id', 'jobLeases.jobId')
    .select([
      'jobs.id',
      'jobs.phase',
      'jobs.progress',
      'jobs.message',
      'jobLeases.expiresAt',
      'jobLeases.phase as leasePhase',
    ])
    .where('jobLeases.projectId', '=', projectId)
    .where('jobLeases.kind', '=', 'ingest')
    .orderBy('jobLeases.token')
    .limit(1)
    .executeTakeFirst()
  const counters = await db
    .selectFrom('queueCounters')
    .select(['waiting', 'maxWaiting'])
    .where('projectId', '=', projectId)
    .where('kind', '=', 'ingest')
    .executeTakeFirst()
  const silent =
    current !== undefined &&
    current.leasePhase === 'started' &&
    current.expiresAt - policy.leaseTtlMs + options.silentMs < now
  const state =
    current !== undefined ? (silent ? 'stuck' : 'busy') : (await isServed(ctx, projectId)) ? 'idle' : 'offline'
  return {
    state: state as 'idle' | 'busy' | 'stuck' | 'offline',
    current:
      current === undefined
        ? null
        : { job_id: current.id, phase: current.phase, progress: current.progress, message: current.message },
    waiting: counters?.waiting ?? 0,
    maxWaiting: counters?.maxWaiting ?? (await getProjectPlan(db, projectId)).waitingJobs,
    history: await listEnded(ctx, projectId, options.historyLength),
  }
}

/** Whether a worker is there that would take the project's next ingest. */
async function isServed(ctx: Context, projectId: string): Promise<boolean> {
  const workers = await ctx.db.kysely
    .selectFrom('workers')
    .select(['kinds', 'isolation'])
    .where('revokedAt', 'is', null)
    .where('drainingAt', 'is', null)
    .where('lastSeenAt', '>', ctx.clock.now() - workerAwayMs)
    .where((eb) =>
      eb.or([
        eb('teamId', 'is', null),
        eb('teamId', '=', eb.selectFrom('projects').select('projects.teamId').where('projects.id', '=', projectId)),
      ]),
    )
    .execute()
  return workers.some(
    ({ kinds, isolation }) =>
      JSON.parse(kinds).includes('ingest') && isolation !== null && JSON.parse(isolation).level !== 'none',
  )
}

async function listEnded(ctx: Context, projectId: string, limit: number) {
  const rows = await ctx.db.kysely
    .selectFrom('jobs')
    .select(['id', 'state', 'submittedAt', 'startedAt', 'finishedAt', 'skipReason', 'error'])
    .where('projectId', '=', projectId)
    .where('kind', '=', 'ingest')
    .where('state', 'in', finalStates)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  return rows.map(({ error, skipReason, ...row }) => {
    const failure: JobFailure | null = error === null ? null : JSON.parse(error)
    return { ...row, reason: skipReason ?? failure?.code ?? null }
  })
}
