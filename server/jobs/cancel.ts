import type { Job } from '@hivesync/contracts/jobs.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { moveCounters } from './counters.ts'
import { finishJob } from './end.ts'
import { recordEvents } from './events.ts'
import { deleteQueued, getJob, getProjectOf, insertQueued, lockJob, setJob } from './queries.ts'
import { isFinal, requireJob, toJob } from './read.ts'
import { requireLiveKey } from './rights.ts'
import { takePlace } from './submit.ts'

/** The job is not in one of the states any more in which the caller wanted to act on it; nothing was changed. */
export class StateChanged extends Error {
  override name = 'StateChanged'
}

/**
 * Cancels a job that has not ended: a waiting one at once, a held one at its worker's next heartbeat. Canceling a canceled job changes nothing. With `only` it
 * throws `StateChanged` for a job in another state.
 */
export async function cancelJob(ctx: Context, actor: Actor, jobId: string, only?: readonly string[]): Promise<Job> {
  for (let tries = 1; ; tries++) {
    try {
      return await cancelOnce(ctx, actor, jobId, only)
    } catch (error) {
      if (!(error instanceof QueuedMeanwhile) || tries === maxTries) throw error
    }
  }
}

/** The queue row comes before the job, as for a claim, which may hold it by now: begin anew. */
class QueuedMeanwhile extends Error {}
const maxTries = 5

async function cancelOnce(ctx: Context, actor: Actor, jobId: string, only?: readonly string[]): Promise<Job> {
  const job = await ctx.db.transaction(async (tx) => {
    await requireJob(tx, actor, jobId, 'jobs:write')
    const wasFound = await deleteQueued(tx, jobId)
    const row = await lockJob(tx, jobId)
    if (row === undefined) throw new AppError('job_not_found', { jobId })
    if (only !== undefined && !only.includes(row.state)) throw new StateChanged()
    if (row.state === 'canceled') return row
    if (isFinal(row.state)) throw new AppError('job_finished', { jobId, state: row.state })
    // Its attempt ended and queued it again between the two statements (READ COMMITTED): it must not wait on, canceled only in name.
    if (!wasFound && row.state === 'queued') throw new QueuedMeanwhile()
    if (wasFound) {
      await moveCounters(tx, { teamId: row.teamId, projectId: row.projectId, kind: row.kind, waiting: -1, running: 0 })
      await finishJob(ctx, tx, actor, row, { state: 'canceled' })
      return getJob(tx, jobId)
    }
    if (row.cancelRequestedAt !== null) return row
    const now = ctx.clock.now()
    await recordEvents(tx, now, [{ jobId, kind: 'state', data: { state: row.state, reason: 'cancel_requested' } }])
    await recordAudit(ctx, tx, actor, {
      action: 'job.cancel_requested',
      target: { kind: 'job', id: jobId },
      teamId: row.teamId,
      projectId: row.projectId,
    })
    return setJob(tx, jobId, { cancelRequestedAt: now })
  })
  ctx.bus.publish(`job:${jobId}`)
  // A claim passes over a team whose share is being changed, as it was here: look again.
  ctx.bus.publish('jobs')
  return toJob(job)
}

/** Queues an ended job again with fresh budgets; it takes a place in the queue like a new one. Its attempts and log go on. `only` as with `cancelJob`. */
export async function retryJob(ctx: Context, actor: Actor, jobId: string, only?: readonly string[]): Promise<Job> {
  const job = await ctx.db.transaction(async (tx) => {
    const project = await getProjectOf(tx, await requireJob(tx, actor, jobId, 'jobs:write'))
    await requireLiveKey(tx, actor, ctx.clock.now())
    if (project.archivedAt !== null) throw new AppError('project_archived', { projectId: project.id })
    const before = await lockJob(tx, jobId)
    if (before === undefined) throw new AppError('job_not_found', { jobId })
    if (only !== undefined && !only.includes(before.state)) throw new StateChanged()
    if (!isFinal(before.state)) throw new AppError('job_not_finished', { jobId })
    await takePlace(ctx, tx, project, before.kind)
    const now = ctx.clock.now()
    const row = await setJob(tx, jobId, {
      state: 'queued',
      submittedByUser: actor.userId,
      submittedByKey: actor.kind === 'key' ? actor.id : null,
      uncountedAttempts: before.attempt,
      infrastructureFailures: 0,
      expiresAt: now + before.ttlSeconds * 1000,
      startedAt: null,
      finishedAt: null,
      result: null,
      error: null,
      skipReason: null,
      cancelRequestedAt: null,
      phase: null,
      progress: null,
      message: null,
      completedToken: null,
      completionHash: null,
    })
    await insertQueued(tx, row, now)
    await recordEvents(tx, now, [{ jobId, kind: 'state', data: { state: 'queued', reason: 'retried' } }])
    await recordAudit(ctx, tx, actor, {
      action: 'job.retried',
      target: { kind: 'job', id: jobId },
      teamId: row.teamId,
      projectId: row.projectId,
    })
    return row
  })
  ctx.bus.publish(`job:${jobId}`)
  ctx.bus.publish('jobs')
  return toJob(job)
}
