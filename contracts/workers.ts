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
  /** It signs off when it ends, and is retired when it falls silent. */
  ephemeral: Type.Boolean(),
  /** The token it enrolled with; null for one from before they were kept. */
  enrolmentId: nullable(Id),
  keyExpiresAt: nullable(Time),
  enrolledAt: Time,
  lastSeenAt: nullable(Time),
})
export type Worker = Static<typeof Worker>

/** Of a token for one machine, and of one for a fleet, which starts machines for as long as it is used. */
export const enrolmentLife = { oneSeconds: 86_400, fleetSeconds: 90 * 86_400 } as const
/** How many workers may enrol with one token: who steals it gets no more than these in, and revoking them all is one transaction. */
export const maxEnrolmentUses = 10_000

export const createEnrolment = endpoint({
  name: 'createEnrolment',
  summary: 'Make a token with which one machine, or as many as maxUses, may enrol as workers; admins only',
  method: 'POST',
  path: '/api/v1/workers/enrolments',
  access: 'admin',
  limit: 'write',
  body: object({
    name: Type.Optional(Name),
    teamId: Type.Optional(Id),
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 60,
        maximum: enrolmentLife.fleetSeconds,
        description: 'At most a day, with maxUses above 1 at most 90 days; an hour unless given',
      }),
    ),
    maxUses: Type.Optional(Type.Integer({ minimum: 1, maximum: maxEnrolmentUses })),
    pool: Type.Optional(Pool),
    ephemeral: Type.Optional(Type.Boolean()),
  }),
  status: 201,
  reply: object({ id: Id, enrolmentToken: Type.String(), expiresAt: Time }),
  errors: ['team_not_found'],
})

/** An enrolment token as it is listed: never the token itself. */
export const Enrolment = object({
  id: Id,
  name: nullable(Type.String()),
  teamId: nullable(Id),
  state: Type.Enum(['usable', 'used', 'expired', 'revoked']),
  /** The pool its workers are bound to; null: they may join any. */
  pool: nullable(Pool),
  ephemeral: Type.Boolean(),
  maxUses: Count,
  uses: Count,
  /** Of the workers that enrolled with it, those that are neither revoked nor gone. */
  workers: Count,
  createdAt: Time,
  expiresAt: Time,
  lastUsedAt: nullable(Time),
  revokedAt: nullable(Time),
})
export type Enrolment = Static<typeof Enrolment>

export const listEnrolments = endpoint({
  name: 'listEnrolments',
  summary: 'The enrolment tokens, newest first, with how often each was used; admins only',
  method: 'GET',
  path: '/api/v1/workers/enrolments',
  access: 'admin',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Enrolment),
  errors: [],
})

export const revokeEnrolment = endpoint({
  name: 'revokeEnrolment',
  summary: 'Let nobody enrol with a token any more and, where asked, cut off every worker that did; admins only',
  method: 'POST',
  path: '/api/v1/workers/enrolments/:enrolmentId/revoke',
  access: 'admin',
  limit: 'write',
  params: object({ enrolmentId: Id }),
  body: object({ workers: Type.Optional(Type.Boolean()) }),
  status: 200,
  reply: object({ id: Id, revokedWorkers: Count }),
  errors: ['enrolment_not_found'],
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

export const signOff = endpoint({
  name: 'signOff',
  summary:
    'The worker ends for good: its identity is revoked, and what it still holds goes back to the queue. It can name no other worker',
  method: 'POST',
  path: '/api/v1/worker/sign-off',
  access: 'worker',
  limit: 'worker',
  status: 204,
  reply: null,
  errors: [],
})
