import type { Job, NewJob } from '@hivesync/contracts/jobs.ts'
import type { NewSchedule, Schedule, ScheduleChange } from '@hivesync/contracts/schedules.ts'
import { recordAudit } from '../audit/audit.ts'
import { requireInput, submitIn } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { requireProject } from '../projects/projects.ts'
import { nextRunAfter, nextRuns, requireTiming } from './cron.ts'
import {
  deleteScheduleRow,
  findSchedule,
  insertSchedule,
  listScheduleRows,
  lockSchedule,
  type ScheduleRow,
  setSchedule,
} from './queries.ts'
import { openSubmission, sealSubmission } from './submission.ts'

export { runDueSchedules } from './run-due.ts'
export { stopSchedules } from './stop.ts'

const maxSchedules = 100
const defaultTimeZone = 'UTC'

/** Makes a schedule, which acts with the rights of its maker: `too_many_schedules` when the project has 100. */
export async function createSchedule(
  ctx: Context,
  actor: Actor,
  projectId: string,
  body: NewSchedule,
): Promise<Schedule> {
  const timing = { cron: body.cron.trim(), timeZone: body.timeZone ?? defaultTimeZone }
  const now = ctx.clock.now()
  const id = ctx.random.id()
  return ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'jobs:write')
    if (project.archivedAt !== null) throw new AppError('project_archived', { projectId })
    requireTiming(timing, now)
    judgeJob(ctx, body.job)
    const row: ScheduleRow = {
      id,
      projectId,
      teamId: project.teamId,
      name: body.name.normalize('NFC'),
      ...timing,
      ...sealSubmission(ctx, id, body.job),
      missedRuns: body.missedRuns ?? 'skip',
      overlap: body.overlap ?? 'skip',
      ...makerColumns(actor),
      createdAt: now,
      pausedAt: null,
      nextRunAt: nextRunAfter(timing, now),
      lastRunAt: null,
      lastJobId: null,
      lastRefusal: null,
    }
    if (!(await insertSchedule(tx, row, maxSchedules))) throw new AppError('too_many_schedules', { projectId })
    await audit(ctx, tx, actor, row, 'schedule.created')
    return toSchedule(ctx, row)
  })
}

export async function listSchedules(
  ctx: Context,
  actor: Actor,
  projectId: string,
  query: { limit?: string; cursor?: string },
) {
  await requireProject(ctx.db.kysely, actor, projectId, 'jobs:read')
  const request = pageRequest(query)
  const rows = await listScheduleRows(ctx.db.kysely, projectId, request)
  return toPage(
    rows,
    request,
    (row) => row.id,
    (row) => toSchedule(ctx, row),
  )
}

export async function getSchedule(
  ctx: Context,
  actor: Actor,
  { projectId, scheduleId }: { projectId: string; scheduleId: string },
): Promise<Schedule> {
  await requireProject(ctx.db.kysely, actor, projectId, 'jobs:read')
  return toSchedule(ctx, requireFound(await findSchedule(ctx.db.kysely, projectId, scheduleId), scheduleId))
}

/**
 * Changes, pauses or resumes a schedule. Whoever does more than pausing it becomes its maker: else who may edit it could have somebody else's rights work for
 * them, and one that was stopped with its maker's rights could never go on.
 */
export async function updateSchedule(
  ctx: Context,
  actor: Actor,
  { projectId, scheduleId }: { projectId: string; scheduleId: string },
  change: ScheduleChange,
): Promise<Schedule> {
  const { name, cron, timeZone, missedRuns, overlap, job, paused } = change
  return ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'jobs:write')
    const before = requireFound(await lockSchedule(tx, projectId, scheduleId), scheduleId)
    const isOnlyPaused = paused === true && Object.keys(change).length === 1
    if (project.archivedAt !== null && !isOnlyPaused) throw new AppError('project_archived', { projectId })
    const now = ctx.clock.now()
    const timing = { cron: cron?.trim() ?? before.cron, timeZone: timeZone ?? before.timeZone }
    if (cron !== undefined || timeZone !== undefined) requireTiming(timing, now)
    if (job !== undefined) judgeJob(ctx, job)
    const isPaused = paused ?? before.pausedAt !== null
    const isMoved = cron !== undefined || timeZone !== undefined || (before.pausedAt !== null && !isPaused)
    const row = await setSchedule(tx, scheduleId, {
      ...timing,
      name: name?.normalize('NFC') ?? before.name,
      missedRuns: missedRuns ?? before.missedRuns,
      overlap: overlap ?? before.overlap,
      ...(job !== undefined && sealSubmission(ctx, scheduleId, job)),
      ...(isOnlyPaused ? {} : makerColumns(actor)),
      pausedAt: isPaused ? (before.pausedAt ?? now) : null,
      nextRunAt: isPaused ? null : isMoved ? nextRunAfter(timing, now) : before.nextRunAt,
      // What kept it from running may be gone with the change: the next run will tell.
      lastRefusal: isOnlyPaused ? before.lastRefusal : null,
    })
    await audit(ctx, tx, actor, row, 'schedule.updated', Object.keys(change).sort().join(' '))
    return toSchedule(ctx, row)
  })
}

/** Deletes a schedule; its jobs stay, and what waits of them runs. */
export async function deleteSchedule(
  ctx: Context,
  actor: Actor,
  { projectId, scheduleId }: { projectId: string; scheduleId: string },
): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    await requireProject(tx, actor, projectId, 'jobs:write')
    const row = requireFound(await lockSchedule(tx, projectId, scheduleId), scheduleId)
    await deleteScheduleRow(tx, projectId, scheduleId)
    await audit(ctx, tx, actor, row, 'schedule.deleted')
  })
}

/** Submits the schedule's job now, as a job of whoever asks. */
export async function runSchedule(
  ctx: Context,
  actor: Actor,
  { projectId, scheduleId }: { projectId: string; scheduleId: string },
): Promise<Job> {
  const job = await ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'jobs:write')
    const row = requireFound(await lockSchedule(tx, projectId, scheduleId), scheduleId)
    const submission = openOrRefuse(ctx, row)
    requireInput(ctx, submission)
    const { job } = await submitIn(ctx, tx, actor, project, submission, { schedule: { id: row.id, at: null } })
    await setSchedule(tx, row.id, { lastRunAt: ctx.clock.now(), lastJobId: job.id, lastRefusal: null })
    return job
  })
  ctx.bus.publish('jobs')
  return job
}

function openOrRefuse(ctx: Context, row: ScheduleRow): NewJob {
  try {
    return openSubmission(ctx, row)
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    const message = 'cannot be read any more: give them anew'
    throw new AppError('invalid_request', { scheduleId: row.id }, { fields: [{ path: 'job/input/secrets', message }] })
  }
}

/** Refuses what every run would be refused for; the fields are named as this request has them. */
function judgeJob(ctx: Context, job: NewJob): void {
  try {
    requireInput(ctx, job)
  } catch (error) {
    if (!(error instanceof AppError) || error.options.fields === undefined) throw error
    const fields = error.options.fields.map(({ path, message }) => ({
      path: path.replace(/^body\//, 'body/job/'),
      message,
    }))
    throw new AppError(error.code, error.details, { ...error.options, fields })
  }
}

function requireFound(row: ScheduleRow | undefined, scheduleId: string): ScheduleRow {
  if (row === undefined) throw new AppError('schedule_not_found', { scheduleId })
  return row
}

function makerColumns(actor: Actor) {
  return { submittedByUser: actor.userId, submittedByKey: actor.kind === 'key' ? actor.id : null }
}

function audit(
  ctx: Context,
  tx: Db,
  actor: Actor,
  row: ScheduleRow,
  action: string,
  changed: string | null = null,
): Promise<void> {
  const target = { kind: 'schedule', id: row.id }
  const { teamId, projectId, kind } = row
  return recordAudit(ctx, tx, actor, { action, target, teamId, projectId, details: { kind, changed } })
}

function toSchedule(ctx: Context, row: ScheduleRow): Schedule {
  const { id, projectId, name, cron, timeZone, missedRuns, overlap, lastJobId, lastRefusal } = row
  const from = Math.max(row.nextRunAt ?? 0, ctx.clock.now())
  return {
    ...{ id, projectId, name, cron, timeZone, missedRuns, overlap, lastJobId, lastRefusal },
    submission: JSON.parse(row.submission),
    submittedBy: row.submittedByUser,
    createdAt: isoTime(row.createdAt),
    pausedAt: isoTime(row.pausedAt),
    nextRunAt: isoTime(row.nextRunAt),
    nextRuns: row.nextRunAt === null ? [] : nextRuns(row, from, 3).map((at) => isoTime(at)),
    lastRunAt: isoTime(row.lastRunAt),
  }
}
