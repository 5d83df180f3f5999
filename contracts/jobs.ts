import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { ComputeInput, IngestInput, jobKinds } from './job-kinds.ts'
import { Count, Id, nullable, object, PageQuery, page, Time } from './values.ts'

export const jobStates = ['queued', 'leased', 'running', 'succeeded', 'failed', 'canceled', 'skipped'] as const
export type JobState = (typeof jobStates)[number]
export const finalStates = ['succeeded', 'failed', 'canceled', 'skipped'] as const satisfies readonly JobState[]
export const JobKind = Type.Enum([...jobKinds])
export const JobState = Type.Enum([...jobStates])

/** A label that a job asks for and a worker carries, such as `gpu` or `region:eu`. */
export const Label = Type.String({ pattern: '^[a-z0-9][a-z0-9._:-]{0,62}$' })
export const Labels = Type.Array(Label, { maxItems: 20, uniqueItems: true })

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
    'isolation',
    'delivery',
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
  attempt: Count,
  maxAttempts: Count,
  submittedAt: Time,
  ttlSeconds: Type.Integer(),
  expiresAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  result: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]),
  error: nullable(JobFailure),
  skipReason: nullable(Type.String()),
  cancelRequestedAt: nullable(Time),
}
export const Job = object({
  ...job,
  input: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  waitingFor: Type.Optional(WaitingFor),
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
})
export type JobAttempt = Static<typeof JobAttempt>

export const LogLine = object({
  seq: Count,
  attempt: Count,
  stream: Type.Enum(['stdout', 'stderr', 'system']),
  at: Time,
  text: Type.String(),
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

const jobParams = object({ jobId: Id })
const projectParams = object({ projectId: Id })
const options = {
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 9 })),
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
  maxAttempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 20 })),
  labels: Type.Optional(Labels),
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
    'Live events of a job as server-sent events (`state`, `progress`, `log`), resumed by Last-Event-ID; ends with the final state',
  method: 'GET',
  path: '/api/v1/jobs/:jobId/events',
  access: 'jobs:read',
  limit: 'read',
  params: jobParams,
  status: 200,
  reply: null,
  produces: 'text/event-stream',
  errors: ['job_not_found'],
})

const QueueCounts = object({ kind: JobKind, projectId: Id, waiting: Count, running: Count, maxWaiting: Count })
export const listQueues = endpoint({
  name: 'listQueues',
  summary: 'Waiting and running jobs by project and kind, over the projects the actor may read',
  method: 'GET',
  path: '/api/v1/queues',
  access: 'jobs:read',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(QueueCounts),
  errors: [],
})
