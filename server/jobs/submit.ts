import type { Job, NewJob } from '@hivesync/contracts/jobs.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { type ProjectAccess, requireProject } from '../projects/projects.ts'
import { addWaitingShare, ensureQueue, ensureShare, takeQueuePlace } from './counters.ts'
import { recordEvents } from './events.ts'
import { requireInput, subjectOf } from './input.ts'
import { policy } from './policy.ts'
import { findJobByKey, insertJob, insertQueued, lockIdempotencyKey } from './queries.ts'
import { toJob } from './read.ts'

/**
 * Queues a job, or refuses with `queue_full` and stores nothing. With an idempotency key the same request answers with the
 * same job however often it arrives; another request under that key is refused.
 */
export async function submitJob(
  ctx: Context,
  actor: Actor,
  projectId: string,
  submission: NewJob,
  idempotencyKey?: string,
): Promise<Job> {
  requireInput(ctx, submission)
  const key = idempotencyKey === undefined ? null : requireKey(idempotencyKey)
  const requestHash = key === null ? null : sha256Hex(JSON.stringify(submission))
  const { job, isNew } = await ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'jobs:write')
    return submitIn(ctx, tx, actor, project, submission, key, requestHash)
  })
  if (isNew) ctx.bus.publish('jobs')
  return job
}

async function submitIn(
  ctx: Context,
  tx: Db,
  actor: Actor,
  project: ProjectAccess,
  submission: NewJob,
  key: string | null,
  requestHash: string | null,
): Promise<{ job: Job; isNew: boolean }> {
  if (key !== null) {
    await lockIdempotencyKey(tx, project.id, key)
    const earlier = await findJobByKey(tx, project.id, key)
    if (earlier !== undefined && earlier.requestHash !== requestHash)
      throw new AppError('idempotency_mismatch', { jobId: earlier.id })
    if (earlier !== undefined) return { job: toJob(earlier), isNew: false }
  }
  if (project.archivedAt !== null) throw new AppError('project_archived', { projectId: project.id })
  await takePlace(ctx, tx, project, submission.kind)

  const now = ctx.clock.now()
  const ttlSeconds = submission.ttlSeconds ?? policy.defaultTtlSeconds
  const job = await insertJob(tx, {
    id: ctx.random.id(),
    projectId: project.id,
    teamId: project.teamId,
    kind: submission.kind,
    state: 'queued',
    priority: submission.priority ?? policy.defaultPriority,
    labels: JSON.stringify([...(submission.labels ?? [])].sort()),
    input: JSON.stringify(submission.input),
    subject: subjectOf(submission),
    submittedByUser: actor.userId,
    submittedByKey: actor.kind === 'key' ? actor.id : null,
    submittedAt: now,
    ttlSeconds,
    expiresAt: now + ttlSeconds * 1000,
    maxAttempts: submission.maxAttempts ?? policy.defaultMaxAttempts,
    idempotencyKey: key,
    requestHash,
  })
  await insertQueued(tx, job, now)
  await recordEvents(tx, now, [{ jobId: job.id, kind: 'state', data: { state: 'queued' } }])
  await recordAudit(ctx, tx, actor, {
    action: 'job.submitted',
    target: { kind: 'job', id: job.id },
    teamId: job.teamId,
    projectId: job.projectId,
    details: { kind: job.kind },
  })
  await enqueueEvent(ctx, tx, {
    topic: 'job.submitted',
    teamId: job.teamId,
    payload: { jobId: job.id, projectId: job.projectId, kind: job.kind },
  })
  return { job: toJob(job), isNew: true }
}

// A full queue drains at the pace of the work; a minute is when a look is worth it again.
const retryAfterSeconds = '60'

/** Takes a waiting place in the project's queue and counts it for the team; `queue_full` undoes the transaction. */
export async function takePlace(
  ctx: Context,
  tx: Db,
  project: { id: string; teamId: string },
  kind: string,
): Promise<void> {
  if (!(await addWaitingShare(tx, project.teamId))) {
    await ensureShare(tx, project)
    await addWaitingShare(tx, project.teamId)
  }
  if (await takeQueuePlace(tx, project.id, kind)) return
  // No place in a queue that has no row yet: its first job. Another first one may have made the row and taken all places meanwhile.
  await ensureQueue(tx, project, kind)
  if (await takeQueuePlace(tx, project.id, kind)) return
  ctx.log.warn({ event: 'queue_full', projectId: project.id, kind })
  throw new AppError(
    'queue_full',
    { projectId: project.id },
    { headers: { 'retry-after': retryAfterSeconds }, detail: 'As many jobs are waiting as the plan allows' },
  )
}

function requireKey(key: string): string {
  if (/^[\x21-\x7e]{1,200}$/.test(key)) return key
  throw new AppError(
    'invalid_request',
    {},
    { fields: [{ path: 'headers/idempotency-key', message: 'must be 1 to 200 printable ASCII characters' }] },
  )
}
