import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { ComputeInput, IngestInput, jobKinds } from './job-kinds.ts'
import { Count, Id, nullable, object, PageQuery, page, RequestId, Time } from './values.ts'

export const jobStates = ['queued', 'leased', 'running', 'succeeded', 'failed', 'canceled', 'skipped'] as const
export type JobState = (typeof jobStates)[number]
export const finalStates = ['succeeded', 'failed', 'canceled', 'skipped'] as const satisfies readonly JobState[]
export const JobKind = Type.Enum([...jobKinds])
export const JobState = Type.Enum([...jobStates])

/** A label that a job asks for and a worker carries, such as `gpu` or `region:eu`. */
export const Label = Type.String({ pattern: '^[a-z0-9][a-z0-9._:-]{0,62}$' })
export const Labels = Type.Array(Label, { maxItems: 20, uniqueItems: true })
/** A group of workers that take only the jobs meant for it; `default` unless said otherwise. */
export const Pool = Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,39}$' })
export const defaultPool = 'default'

/** How long a failed attempt waits before the next: always `seconds`, or doubled each time up to `maxSeconds`; half of it is chance. */
export const Backoff = object({
  strategy: Type.Enum(['fixed', 'exponential']),
  seconds: Type.Integer({ minimum: 1, maximum: 3600 }),
  maxSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
})
export type Backoff = Static<typeof Backoff>

/** Why a job has not started and what would change that. */
export const WaitingFor = object({
  reason: Type.Enum([
    'turn',
    'team_limit',
    'retry_delay',
    'no_worker',
    'no_worker_online',
    'workers_busy',
    'labels',
    'pool',
    'isolation',
    'worker_refusing',
    'delivery',
    'queue_paused',
    'project_limit',
  ]),
  message: Type.String(),
  fix: nullable(Type.String()),
})
export type WaitingFor = Static<typeof WaitingFor>
export const JobFailure = object({
  code: Type.String({ pattern: '^[a-z][a-z0-9_]{0,63}$' }),
  message: Type.String({ maxLength: 2000 }),
})
export type JobFailure = Static<typeof JobFailure>

const job = {
  id: Id,
  projectId: Id,
  kind: JobKind,
  subject: Type.String({ description: 'What it is about, in a few words: the repository, or the command' }),
  state: JobState,
  phase: nullable(Type.String()),
  progress: nullable(Type.Integer({ minimum: 0, maximum: 100 })),
  message: nullable(Type.String()),
  priority: Type.Integer(),
  labels: Labels,
  pool: Pool,
  attempt: Count,
  maxAttempts: Count,
  backoff: nullable(Backoff),
  scheduleId: nullable(Id),
  scheduledFor: nullable(Time),
  submittedAt: Time,
  ttlSeconds: Type.Integer(),
  expiresAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  result: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]),
  error: nullable(JobFailure),
  skipReason: nullable(Type.String()),
  cancelRequestedAt: nullable(Time),
  requestId: Type.Optional(RequestId),
}
/** Where the time of a job went, in milliseconds; of what has not ended yet, so far. */
export const JobTimings = object({
  /** From its submission until it first ran; null while it has not. */
  queueToStartMs: nullable(Count),
  /** In the queue, over all attempts. */
  waitingMs: Count,
  /** From its submission to its end. */
  totalMs: Count,
  attempts: Type.Array(
    object({
      number: Count,
      /** From the claim until the work began; null when it never did. */
      startMs: nullable(Count),
      /** From the claim to its end. */
      totalMs: Count,
      phases: Type.Array(object({ phase: Type.String(), ms: Count })),
    }),
  ),
})
export type JobTimings = Static<typeof JobTimings>

export const Job = object({
  ...job,
  input: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  waitingFor: Type.Optional(WaitingFor),
  timings: Type.Optional(JobTimings),
})
export type Job = Static<typeof Job>

export const JobAttempt = object({
  number: Count,
  workerId: Id,
  workerName: nullable(Type.String()),
  claimedAt: Time,
  startedAt: nullable(Time),
  endedAt: nullable(Time),
  outcome: nullable(Type.Enum(['succeeded', 'failed', 'canceled', 'lost', 'returned'])),
  error: nullable(JobFailure),
  phases: Type.Array(object({ phase: Type.String(), startedAt: Time, endedAt: nullable(Time) })),
  receipt: nullable(Type.Record(Type.String(), Type.Unknown())),
  /** The receipt is signed by this worker, about this attempt. */
  receiptVerified: Type.Boolean(),
})
export type JobAttempt = Static<typeof JobAttempt>

export const LogLine = object({
  seq: Count,
  attempt: Count,
  stream: Type.Enum(['stdout', 'stderr', 'system']),
  at: Time,
  text: Type.String(),
  /** Where the text begins in what the attempt printed to this stream, in bytes. */
  startByte: Type.Optional(Count),
  /** In place of a text: so many bytes of output were dropped here. */
  gap: Type.Optional(object({ bytes: Count })),
  /** The log is longer than it may be; nothing of this attempt comes after this line, which says so. */
  truncated: Type.Optional(Type.Literal(true)),
})
export type LogLine = Static<typeof LogLine>

/** What the live stream of a job says, beside `log` (a LogLine) and the closing `end`. */
export const JobStateEvent = Type.Object({
  state: JobState,
  attempt: Type.Optional(Type.Integer()),
  reason: Type.Optional(Type.String()),
})
export type JobStateEvent = Static<typeof JobStateEvent>
export const JobProgressEvent = Type.Object({
  phase: Type.String(),
  progress: nullable(Type.Integer({ minimum: 0, maximum: 100 })),
  message: nullable(Type.String()),
})
export type JobProgressEvent = Static<typeof JobProgressEvent>

/** A phase of the work began; `before` is the one that ended with it. */
export const JobPhaseEvent = Type.Object({
  phase: Type.String(),
  before: nullable(Type.Object({ phase: Type.String(), ms: Count })),
})
export type JobPhaseEvent = Static<typeof JobPhaseEvent>

const jobParams = object({ jobId: Id })
const projectParams = object({ projectId: Id })
const options = {
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 9 })),
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
  maxAttempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 20 })),
  labels: Type.Optional(Labels),
  pool: Type.Optional(Pool),
  backoff: Type.Optional(Backoff),
}
/** What a submission says, by kind. */
export const NewJob = Type.Union([
  object({ kind: Type.Literal('ingest'), input: IngestInput, ...options }),
  object({ kind: Type.Literal('compute'), input: ComputeInput, ...options }),
])
export type NewJob = Static<typeof NewJob>

export const submitJob = endpoint({
  name: 'submitJob',
  summary: 'Queue a job; with an Idempotency-Key the same request answers with the same job',
  method: 'POST',
  path: '/api/v1/projects/:projectId/jobs',
  access: 'jobs:write',
  limit: 'write',
  params: projectParams,
  body: NewJob,
  maxBodyBytes: 1024 * 1024,
  status: 201,
  reply: Job,
  errors: [
    'project_not_found',
    'permission_denied',
    'project_archived',
    'queue_full',
    'repository_refused',
    'idempotency_mismatch',
  ],
})

export const listJobs = endpoint({
  name: 'listJobs',
  summary: 'The jobs of a project, newest first',
  method: 'GET',
  path: '/api/v1/projects/:projectId/jobs',
  access: 'jobs:read',
  limit: 'read',
  params: projectParams,
  query: object({ ...PageQuery, state: Type.Optional(JobState), kind: Type.Optional(JobKind) }),
  status: 200,
  reply: page(Job),
  errors: ['project_not_found'],
})

export const getJob = endpoint({
  name: 'getJob',
  summary: 'One job, with its input and, while it waits, the reason',
  method: 'GET',
  path: '/api/v1/jobs/:jobId',
  access: 'jobs:read',
  limit: 'read',
  params: jobParams,
  status: 200,
  reply: Job,
  errors: ['job_not_found'],
})

export const cancelJob = endpoint({
  name: 'cancelJob',
  summary: 'Cancel a job; a running one is told at its next heartbeat. Canceling a canceled job changes nothing',
  method: 'POST',
  path: '/api/v1/jobs/:jobId/cancel',
  access: 'jobs:write',
  limit: 'write',
  params: jobParams,
  status: 200,
  reply: Job,
  errors: ['job_not_found', 'permission_denied', 'job_finished'],
})

export const retryJob = endpoint({
  name: 'retryJob',
  summary: 'Queue an ended job again, as the same job with a fresh budget of attempts',
  method: 'POST',
  path: '/api/v1/jobs/:jobId/retry',
  access: 'jobs:write',
  limit: 'write',
  params: jobParams,
  status: 200,
  reply: Job,
  errors: ['job_not_found', 'permission_denied', 'job_not_finished', 'project_archived', 'queue_full'],
})

export const listAttempts = endpoint({
  name: 'listAttempts',
  summary: 'Every attempt at a job, first to last',
  method: 'GET',
  path: '/api/v1/jobs/:jobId/attempts',
  access: 'jobs:read',
  limit: 'read',
  params: jobParams,
  query: object(PageQuery),
  status: 200,
  reply: page(JobAttempt),
  errors: ['job_not_found'],
})

export const readLog = endpoint({
  name: 'readLog',
  summary: 'The log of a job from a sequence number on; a missing number is a gap, never hidden',
  method: 'GET',
  path: '/api/v1/jobs/:jobId/log',
  access: 'jobs:read',
  limit: 'read',
  params: jobParams,
  query: object({ after: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })), limit: PageQuery.limit }),
  status: 200,
  reply: object({ items: Type.Array(LogLine), nextSeq: Count }),
  errors: ['job_not_found'],
})

export const watchJob = endpoint({
  name: 'watchJob',
  summary:
    'Live events of a job (`state`, `phase`, `progress`, `log`) as server-sent events, or over a WebSocket as messages `{event, id, data}`; resumed after an id by Last-Event-ID or `after`; ends with the final state',
  method: 'GET',
  path: '/api/v1/jobs/:jobId/events',
  access: 'jobs:read',
  limit: 'read',
  params: jobParams,
  query: object({ after: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}\\.(-1|[0-9]{1,15})$' })) }),
  status: 200,
  reply: null,
  produces: 'text/event-stream',
  upgrade: 'websocket',
  errors: ['job_not_found'],
})
