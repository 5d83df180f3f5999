import type { ProjectPermission } from '@hivesync/contracts/access.ts'
import type { Job, JobAttempt, JobState } from '@hivesync/contracts/jobs.ts'
import { finalStates } from '@hivesync/contracts/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { requireProject } from '../projects/projects.ts'
import { requestOf } from './new-job.ts'
import { findJob, findProject, type JobRow, listAttemptRows, listJobRows } from './queries.ts'
import { timingsOf } from './timings.ts'
import { waitingFor } from './waiting.ts'

const final: ReadonlySet<string> = new Set(finalStates)
export function isFinal(state: string): boolean {
  return final.has(state)
}

/** The job, if the actor may do this to it: `job_not_found` when its project may not even be seen. Admins may with every job (requirement L1). */
export async function requireJob(db: Db, actor: Actor, jobId: string, permission: ProjectPermission): Promise<JobRow> {
  const job = await findJob(db, jobId)
  if (job === undefined) throw new AppError('job_not_found', { jobId })
  if (actor.isAdmin && actor.projectId === null && actor.permissions.has(permission)) return job
  try {
    await requireProject(db, actor, job.projectId, permission)
  } catch (error) {
    if (error instanceof AppError && error.code === 'project_not_found') throw new AppError('job_not_found', { jobId })
    throw error
  }
  return job
}

/** The project, if the actor may do this to its jobs, all of them: the rule of `requireJob`. */
export async function requireJobsOf(
  db: Db,
  actor: Actor,
  projectId: string,
  permission: ProjectPermission,
): Promise<{ id: string; archivedAt: number | null }> {
  if (!(actor.isAdmin && actor.projectId === null && actor.permissions.has(permission)))
    return requireProject(db, actor, projectId, permission)
  const project = await findProject(db, projectId)
  if (project === undefined) throw new AppError('project_not_found', { projectId })
  return project
}

/** One job with its input and, while it waits, the reason and what would change it. */
export async function getJob(ctx: Context, actor: Actor, jobId: string): Promise<Job> {
  const row = await requireJob(ctx.db.kysely, actor, jobId, 'jobs:read')
  const timings = await timingsOf(ctx.db.kysely, row, ctx.clock.now())
  const job: Job = { ...toJob(row), input: JSON.parse(row.input), timings }
  if (row.state === 'queued') job.waitingFor = await waitingFor(ctx, row)
  return job
}

export async function listJobs(
  ctx: Context,
  actor: Actor,
  projectId: string,
  query: { limit?: string; cursor?: string; state?: JobState; kind?: string },
) {
  await requireProject(ctx.db.kysely, actor, projectId, 'jobs:read')
  const request = pageRequest(query)
  return toPage(await listJobRows(ctx.db.kysely, projectId, query, request), request, (row) => row.id, toJob)
}

/** Every attempt, first to last; the cursor is the fencing token. */
export async function listAttempts(
  ctx: Context,
  actor: Actor,
  jobId: string,
  query: { limit?: string; cursor?: string },
) {
  await requireJob(ctx.db.kysely, actor, jobId, 'jobs:read')
  const request = pageRequest(query)
  const after = request.after === undefined ? 0 : Number(request.after)
  if (!Number.isSafeInteger(after)) throw new AppError('invalid_request')
  const rows = await listAttemptRows(ctx.db.kysely, jobId, { limit: request.limit, after })
  return toPage(rows, request, (row) => String(row.token), toAttempt)
}

type AttemptRow = Awaited<ReturnType<typeof listAttemptRows>>[number]

function toAttempt(row: AttemptRow): JobAttempt {
  const phases: { phase: string; startedAt: number; endedAt: number | null }[] = JSON.parse(row.phases)
  return {
    number: row.number,
    workerId: row.workerId,
    workerName: row.workerName,
    claimedAt: isoTime(row.claimedAt),
    startedAt: isoTime(row.startedAt),
    endedAt: isoTime(row.endedAt),
    outcome: row.outcome as JobAttempt['outcome'],
    error: row.error === null ? null : JSON.parse(row.error),
    phases: phases.map(({ phase, startedAt, endedAt }) => ({
      phase,
      startedAt: isoTime(startedAt),
      endedAt: isoTime(endedAt),
    })),
    receipt: row.receipt === null ? null : JSON.parse(row.receipt),
    receiptVerified: row.receiptVerified === 1,
  }
}

/** A job as the wire shows it; its input, which may be long, only where one asks for it. */
export function toJob(row: Omit<JobRow, 'input'>): Job {
  return {
    id: row.id,
    projectId: row.projectId,
    kind: row.kind as Job['kind'],
    subject: row.subject,
    state: row.state,
    phase: row.phase,
    progress: row.progress,
    message: row.message,
    priority: row.priority,
    labels: JSON.parse(row.labels),
    pool: row.pool,
    attempt: row.attempt,
    maxAttempts: row.maxAttempts,
    backoff: row.backoff === null ? null : JSON.parse(row.backoff),
    scheduleId: row.scheduleId,
    scheduledFor: isoTime(row.scheduledFor),
    submittedAt: isoTime(row.submittedAt),
    ttlSeconds: row.ttlSeconds,
    expiresAt: isoTime(row.expiresAt),
    startedAt: isoTime(row.startedAt),
    finishedAt: isoTime(row.finishedAt),
    result: row.result === null ? null : JSON.parse(row.result),
    error: row.error === null ? null : JSON.parse(row.error),
    skipReason: row.skipReason,
    cancelRequestedAt: isoTime(row.cancelRequestedAt),
    ...requestOf(row),
  }
}
