import { recordAudit } from '../audit/audit.ts'
import { hasScheduleRights, requireInput, submitIn } from '../jobs/jobs.ts'
import { type Actor, nobody, system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { nextRunAfter } from './cron.ts'
import { type DueRun, findProject, hasOpenJob, listDue, lockDue, type ScheduleRow, setSchedule } from './queries.ts'
import { openSubmission } from './submission.ts'

const batch = 100
/** A run that begins later than this was missed, and `missedRuns` says what becomes of it; a restart costs none. */
export const graceMs = 60_000

/**
 * Submits the jobs of all runs that are due. Which run is next moves on in the transaction that inserts the job, and only from where it was read: so of
 * any number of replicas one starts it, and a process that dies in between has started nothing. Answers how many jobs it submitted.
 */
export async function runDueSchedules(ctx: Context): Promise<number> {
  let submitted = 0
  for (let after: DueRun | undefined; ; ) {
    const due = await listDue(ctx.db.kysely, ctx.clock.now(), { after, limit: batch })
    for (const run of due) if (await startRun(ctx, run)) submitted++
    after = due.at(-1)
    if (due.length < batch) break
  }
  if (submitted > 0) ctx.bus.publish('jobs')
  return submitted
}

/** A bad run never keeps others from theirs. */
async function startRun(ctx: Context, run: DueRun): Promise<boolean> {
  try {
    return await ctx.db.transaction((tx) => submitRun(ctx, tx, run))
  } catch (error) {
    const code = refusalOf(error)
    if (code === undefined) ctx.log.error({ event: 'schedule_not_run', name: run.id }, error)
    // What failed for a reason of ours is tried again at the next look, until it counts as missed.
    if (code === undefined && ctx.clock.now() - run.nextRunAt <= graceMs) return false
    await recordRefusal(ctx, run, code ?? 'internal')
    return false
  }
}

function refusalOf(error: unknown): string | undefined {
  if (error instanceof AppError && error.status < 500) return error.code
  return error instanceof SealBroken ? 'secrets_unreadable' : undefined
}

async function submitRun(ctx: Context, tx: Db, run: DueRun): Promise<boolean> {
  const row = await lockDue(tx, run)
  if (row === undefined) return false
  const now = ctx.clock.now()
  const nextRunAt = nextRunAfter(row, now)
  if (!(await hasRightsNow(tx, row, now))) {
    await stop(ctx, tx, system, row)
    return false
  }
  if (row.missedRuns === 'skip' && now - run.nextRunAt > graceMs) {
    await setSchedule(tx, row.id, { nextRunAt })
    return false
  }
  if (row.overlap === 'skip' && (await hasOpenJob(tx, row.id))) {
    await refuse(ctx, tx, row, nextRunAt, 'still_running')
    return false
  }
  const submission = openSubmission(ctx, row)
  requireInput(ctx, submission)
  const project = await findProject(tx, row.projectId)
  const schedule = { id: row.id, at: run.nextRunAt }
  const { job } = await submitIn(ctx, tx, makerOf(row), project, submission, { schedule })
  await setSchedule(tx, row.id, { nextRunAt, lastRunAt: now, lastJobId: job.id, lastRefusal: null })
  return true
}

async function hasRightsNow(tx: Db, row: ScheduleRow, now: number): Promise<boolean> {
  const found = await tx
    .selectFrom('schedules')
    .select('id')
    .where('id', '=', row.id)
    .where(hasScheduleRights(now), '=', 1)
    .executeTakeFirst()
  return found !== undefined
}

/** Who submits: the maker, as far as the rows name one. What they may do has been asked of the database, not of this. */
function makerOf(row: ScheduleRow): Actor {
  const { submittedByUser: userId, submittedByKey: keyId } = row
  const who = keyId === null ? ({ kind: 'user', id: userId } as const) : ({ kind: 'key', id: keyId } as const)
  return { ...nobody, ...who, userId, requestId: null, ip: null }
}

/** Says why a due run submitted nothing, and goes on to the next one; the same reason again is not audited again. */
async function recordRefusal(ctx: Context, run: DueRun, code: string): Promise<void> {
  try {
    await ctx.db.transaction(async (tx) => {
      const row = await lockDue(tx, run)
      if (row !== undefined) await refuse(ctx, tx, row, nextRunAfter(row, ctx.clock.now()), code)
    })
  } catch (error) {
    ctx.log.error({ event: 'schedule_not_run', name: run.id }, error)
  }
}

async function refuse(ctx: Context, tx: Db, row: ScheduleRow, nextRunAt: number | null, code: string): Promise<void> {
  await setSchedule(tx, row.id, { nextRunAt, lastRefusal: code })
  if (row.lastRefusal === code) return
  await auditRefusal(ctx, tx, system, row, code)
}

/** Stops a schedule whose maker may not submit its job any more, until somebody who may resumes it. */
export async function stop(ctx: Context, tx: Db, actor: Actor, row: ScheduleRow): Promise<void> {
  await setSchedule(tx, row.id, { pausedAt: ctx.clock.now(), nextRunAt: null, lastRefusal: 'rights_ended' })
  await auditRefusal(ctx, tx, actor, row, 'rights_ended')
}

function auditRefusal(ctx: Context, tx: Db, actor: Actor, row: ScheduleRow, reason: string): Promise<void> {
  return recordAudit(ctx, tx, actor, {
    action: 'schedule.refused',
    outcome: 'refused',
    target: { kind: 'schedule', id: row.id },
    teamId: row.teamId,
    projectId: row.projectId,
    details: { reason },
  })
}
