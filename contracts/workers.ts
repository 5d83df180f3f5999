import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { JobKind, Labels, Pool } from './jobs.ts'
import { Count, Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const isolationLevels = ['full', 'reduced', 'none'] as const
/** What a worker has proven about its sandbox by running the escape table against itself. */
export const Isolation = object({
  level: Type.Enum([...isolationLevels]),
  layers: Type.Array(Type.String({ maxLength: 60 }), { maxItems: 40 }),
  reason: nullable(Type.String({ maxLength: 500 })),
})
export type Isolation = Static<typeof Isolation>

const Runtime = Type.String({ maxLength: 60 })
/** What a machine has, as it says itself: for people and placement, never for trust. */
export const WorkerCapabilities = object({
  arch: Type.String({ maxLength: 20 }),
  system: Type.String({ maxLength: 100 }),
  cores: Type.Integer({ minimum: 1, maximum: 4096 }),
  memoryMiB: Count,
  gpus: Type.Array(Type.String({ maxLength: 100 }), { maxItems: 16 }),
  cgroups: Type.Enum(['v1', 'v2', 'none']),
  /** Interpreters that jobs find, with their versions. */
  runtimes: object({
    node: Type.Optional(Runtime),
    npm: Type.Optional(Runtime),
    python3: Type.Optional(Runtime),
    sh: Type.Optional(Runtime),
  }),
  freeDiskMiB: Count,
})
export type WorkerCapabilities = Static<typeof WorkerCapabilities>

export const Worker = object({
  id: Id,
  name: Type.String(),
  teamId: nullable(Id),
  state: Type.Enum(['online', 'offline', 'draining', 'revoked']),
  labels: Labels,
  kinds: Type.Array(JobKind),
  slots: Count,
  running: Count,
  version: nullable(Type.String()),
  isolation: nullable(Isolation),
  pool: Pool,
  capabilities: nullable(WorkerCapabilities),
  clockSkewMs: nullable(Type.Integer()),
  refusing: nullable(Type.String()),
  keyExpiresAt: nullable(Time),
  enrolledAt: Time,
  lastSeenAt: nullable(Time),
})
export type Worker = Static<typeof Worker>

export const createEnrolment = endpoint({
  name: 'createEnrolment',
  summary: 'Make a one-time token with which one machine may enrol as a worker; admins only',
  method: 'POST',
  path: '/api/v1/workers/enrolments',
  access: 'admin',
  limit: 'write',
  body: object({
    name: Type.Optional(Name),
    teamId: Type.Optional(Id),
    ttlSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 86_400 })),
  }),
  status: 201,
  reply: object({ id: Id, enrolmentToken: Type.String(), expiresAt: Time }),
  errors: ['team_not_found'],
})

export const listWorkers = endpoint({
  name: 'listWorkers',
  summary: 'The enrolled workers: those of the actor’s teams and the shared ones',
  method: 'GET',
  path: '/api/v1/workers',
  access: 'workers:read',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Worker),
  errors: [],
})

const workerParams = object({ workerId: Id })
export const drainWorker = endpoint({
  name: 'drainWorker',
  summary: 'Let a worker finish what it holds and take nothing new; admins only',
  method: 'POST',
  path: '/api/v1/workers/:workerId/drain',
  access: 'admin',
  limit: 'write',
  params: workerParams,
  status: 200,
  reply: Worker,
  errors: ['worker_not_found'],
})

export const requestKeyRotation = endpoint({
  name: 'requestKeyRotation',
  summary:
    'Have a worker change its key at its next poll; the present key expires within a week in any case; admins only',
  method: 'POST',
  path: '/api/v1/workers/:workerId/rotate-key',
  access: 'admin',
  limit: 'write',
  params: workerParams,
  status: 200,
  reply: Worker,
  errors: ['worker_not_found'],
})

export const revokeWorker = endpoint({
  name: 'revokeWorker',
  summary: 'Cut a worker off at once: its jobs go back to the queue and its next request is refused; admins only',
  method: 'DELETE',
  path: '/api/v1/workers/:workerId',
  access: 'admin',
  limit: 'write',
  params: workerParams,
  status: 204,
  reply: null,
  errors: ['worker_not_found'],
})
