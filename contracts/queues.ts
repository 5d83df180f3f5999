import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { JobKind } from './jobs.ts'
import { Count, Id, nullable, object, PageQuery, page, Time } from './values.ts'

/** Nothing is claimed from a paused queue; what is submitted waits, and what runs goes on. */
const QueuePause = object({
  /** `admin`: all queues of the kind, on the whole server. `project`: this one. */
  by: Type.Enum(['admin', 'project']),
  since: Time,
  reason: nullable(Type.String()),
})

/** The jobs of one kind in one project. */
export const Queue = object({
  kind: JobKind,
  projectId: Id,
  waiting: Count,
  running: Count,
  maxWaiting: Count,
  /** The project's own limit; the plan of its team holds besides. */
  maxRunning: nullable(Count),
  paused: nullable(QueuePause),
})
export type Queue = Static<typeof Queue>

export const listQueues = endpoint({
  name: 'listQueues',
  summary:
    'Waiting and running jobs by project and kind, over the projects the actor may read, and whether they are paused',
  method: 'GET',
  path: '/api/v1/queues',
  access: 'jobs:read',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Queue),
  errors: [],
})

export const updateQueue = endpoint({
  name: 'updateQueue',
  summary: 'Pause or resume one queue of a project, or limit how many of its jobs run at once; its owners',
  method: 'PUT',
  path: '/api/v1/projects/:projectId/queues/:kind',
  access: 'projects:write',
  limit: 'write',
  params: object({ projectId: Id, kind: JobKind }),
  body: object({
    paused: Type.Optional(Type.Boolean()),
    maxRunning: Type.Optional(nullable(Type.Integer({ minimum: 1, maximum: 10_000 }))),
  }),
  status: 200,
  reply: Queue,
  errors: ['project_not_found', 'permission_denied'],
})

const KindQueues = object({ kind: JobKind, paused: nullable(QueuePause) })
const nameParams = object({ name: JobKind })

export const pauseQueues = endpoint({
  name: 'pauseQueues',
  summary: 'Pause all queues of a kind, in every project; admins only. What is submitted waits, what runs goes on',
  method: 'POST',
  path: '/api/v1/queues/:name/pause',
  access: 'admin',
  limit: 'admin',
  params: nameParams,
  body: object({
    reason: Type.Optional(Type.String({ minLength: 1, maxLength: 200, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })),
  }),
  status: 200,
  reply: KindQueues,
  errors: [],
})

export const resumeQueues = endpoint({
  name: 'resumeQueues',
  summary: 'Resume the queues of a kind that an admin paused; those that a project paused itself stay so. Admins only',
  method: 'POST',
  path: '/api/v1/queues/:name/resume',
  access: 'admin',
  limit: 'admin',
  params: nameParams,
  status: 200,
  reply: KindQueues,
  errors: [],
})
