import { defaultPool, type NewJob } from '@hivesync/contracts/jobs.ts'
import { insertAudits, insertOutbox } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { insert, runTogether } from '../platform/db/statement.ts'
import { insertEvents } from './events.ts'
import { subjectOf } from './input.ts'
import { policy } from './policy.ts'
import { insertQueuedRows, type JobRow } from './queries.ts'
import { sealSecrets } from './secrets.ts'

/** Where a submission comes from, beside its body. */
export interface Origin {
  key?: string | null
  requestHash?: string | null
  /** The schedule that it is a run of, and which: null for one that somebody asked for. */
  schedule?: { id: string; at: number | null }
  /** It waited in another system since then: it keeps its age, and takes a place even in a full queue. */
  importedSince?: number
}

/** A job that is to be stored, with what it is stored with. */
export interface NewEntry {
  actor: Actor
  job: JobRow
  secrets: Readonly<Record<string, string>> | undefined
}

/** The row of a submission. Values of its secrets are no part of it: the input names them. */
export function createEntry(
  ctx: Context,
  actor: Actor,
  project: { id: string; teamId: string },
  submission: NewJob,
  origin: Origin = {},
): NewEntry {
  const now = ctx.clock.now()
  const submittedAt = origin.importedSince ?? now
  const ttlSeconds = submission.ttlSeconds ?? policy.defaultTtlSeconds
  const { input, secrets } = withoutSecrets(submission)
  const job: JobRow = {
    id: ctx.random.id(),
    projectId: project.id,
    teamId: project.teamId,
    kind: submission.kind,
    state: 'queued',
    phase: null,
    progress: null,
    message: null,
    priority: submission.priority ?? policy.defaultPriority,
    labels: JSON.stringify(labelsOf(submission)),
    input: JSON.stringify(input),
    subject: subjectOf(submission),
    submittedByUser: actor.userId,
    submittedByKey: actor.kind === 'key' ? actor.id : null,
    submittedAt,
    ttlSeconds,
    expiresAt: submittedAt + ttlSeconds * 1000,
    attempt: 0,
    maxAttempts: submission.maxAttempts ?? policy.defaultMaxAttempts,
    infrastructureFailures: 0,
    uncountedAttempts: 0,
    startedAt: null,
    finishedAt: null,
    result: null,
    error: null,
    skipReason: null,
    cancelRequestedAt: null,
    completedToken: null,
    completionHash: null,
    logSeq: 0,
    logBytes: 0,
    idempotencyKey: origin.key ?? null,
    requestHash: origin.requestHash ?? null,
    pool: submission.pool ?? defaultPool,
    backoff: submission.backoff === undefined ? null : JSON.stringify(submission.backoff),
    scheduleId: origin.schedule?.id ?? null,
    scheduledFor: origin.schedule?.at ?? null,
    requestId: actor.requestId,
    traceParent: actor.traceParent ?? null,
  }
  return { actor, job, secrets }
}

function withoutSecrets(submission: NewJob) {
  if (submission.kind !== 'compute' || submission.input.secrets === undefined)
    return { input: submission.input, secrets: undefined }
  const { secrets, ...input } = submission.input
  return { input: { ...input, secretNames: Object.keys(secrets).sort() }, secrets }
}

/** What a webhook tells of the request that a job came with; one that the server made by itself has none. */
export function requestOf({ requestId }: Pick<JobRow, 'requestId'>): { requestId?: string } {
  return requestId === null ? {} : { requestId }
}

/** A job that wants the graphics device goes where one is. */
function labelsOf(submission: NewJob): string[] {
  const wantsGpu = submission.kind === 'compute' && submission.input.gpu === true
  return [...new Set([...(submission.labels ?? []), ...(wantsGpu ? ['gpu'] : [])])].sort()
}

const jobColumns = {
  id: 'text',
  projectId: 'text',
  teamId: 'text',
  kind: 'text',
  state: 'text',
  priority: 'bigint',
  labels: 'text',
  input: 'text',
  subject: 'text',
  submittedByUser: 'text',
  submittedByKey: 'text',
  submittedAt: 'bigint',
  ttlSeconds: 'bigint',
  expiresAt: 'bigint',
  maxAttempts: 'bigint',
  pool: 'text',
  backoff: 'text',
  scheduleId: 'text',
  scheduledFor: 'bigint',
  idempotencyKey: 'text',
  requestHash: 'text',
  requestId: 'text',
  traceParent: 'text',
} as const
const secretColumns = { jobId: 'text', sealed: 'text' } as const

/** Stores new jobs with their queue rows, events, audit and outbox rows. Their places are the caller's to take, afterwards in the same transaction. */
export async function storeJobs(ctx: Context, tx: Db, entries: readonly NewEntry[]): Promise<void> {
  if (entries.length === 0) return
  const now = ctx.clock.now()
  const jobs = entries.map(({ job }) => job)
  const sealed = entries.flatMap(({ job, secrets }) =>
    secrets === undefined ? [] : [{ jobId: job.id, sealed: sealSecrets(ctx, job.id, secrets) }],
  )
  await runTogether(tx, [
    insert('jobs', jobColumns, jobs),
    insertQueuedRows(jobs.map((job) => ({ job, runAt: now }))),
    insertEvents(
      now,
      jobs.map((job) => ({ jobId: job.id, kind: 'state', data: { state: 'queued' } })),
    ),
    insertAudits(
      ctx,
      entries.map(({ actor, job }) => ({
        actor,
        action: 'job.submitted',
        target: { kind: 'job', id: job.id },
        teamId: job.teamId,
        projectId: job.projectId,
        details: { kind: job.kind },
      })),
    ),
    insertOutbox(
      ctx,
      jobs.map((job) => ({
        topic: 'job.submitted',
        teamId: job.teamId,
        payload: { jobId: job.id, projectId: job.projectId, kind: job.kind, ...requestOf(job) },
      })),
    ),
    ...(sealed.length === 0 ? [] : [insert('job_secrets', secretColumns, sealed)]),
  ])
}
