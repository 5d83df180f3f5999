import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { JobFailure, JobKind, Labels } from './jobs.ts'
import { Count, Id, object, Time } from './values.ts'

/** At most so many jobs are acted on in one request, oldest first; 100 unless given. */
const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 500 }))

const Refused = Type.Array(object({ jobId: Id, code: Type.String() }))
/** Jobs that still match, counted up to 10,000. */
const Remaining = Count

export const RetryFilter = object({
  /** `failed` unless given. */
  state: Type.Optional(Type.Enum(['failed', 'skipped', 'canceled'])),
  kind: Type.Optional(JobKind),
  errorCode: Type.Optional(JobFailure.properties.code),
  finishedAfter: Type.Optional(Time),
  finishedBefore: Type.Optional(Time),
})
export type RetryFilter = Static<typeof RetryFilter>

export const CancelFilter = object({
  /** All that have not ended unless given. */
  state: Type.Optional(Type.Enum(['queued', 'leased', 'running'])),
  kind: Type.Optional(JobKind),
  submittedBefore: Type.Optional(Time),
  /** Jobs that ask for all of these. */
  labels: Type.Optional(Labels),
})
export type CancelFilter = Static<typeof CancelFilter>

const params = object({ projectId: Id })

export const retryJobs = endpoint({
  name: 'retryJobs',
  summary: 'Queue ended jobs again, oldest first, until the queue is full; the refused are named with the reason',
  method: 'POST',
  path: '/api/v1/projects/:projectId/jobs/retry',
  access: 'jobs:write',
  limit: 'write',
  params,
  body: object({ filter: RetryFilter, limit: Limit }),
  status: 200,
  reply: object({ retried: Count, refused: Refused, remaining: Remaining }),
  errors: ['project_not_found', 'permission_denied', 'project_archived'],
})

export const cancelJobs = endpoint({
  name: 'cancelJobs',
  summary: 'Cancel jobs that have not ended, oldest first; running ones are told at their next heartbeat',
  method: 'POST',
  path: '/api/v1/projects/:projectId/jobs/cancel',
  access: 'jobs:write',
  limit: 'write',
  params,
  body: object({ filter: CancelFilter, limit: Limit }),
  status: 200,
  /** `canceled` have ended, `asked` are held by a worker and end at its next heartbeat. */
  reply: object({ canceled: Count, asked: Count, refused: Refused, remaining: Remaining }),
  errors: ['project_not_found', 'permission_denied'],
})
