import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { defaultPool, Pool } from './jobs.ts'
import { Count, Id, object } from './values.ts'

/** What an autoscaler asks of one pool of workers (requirement C10). Every number is always there: nothing to do is 0, never absent. */
export const QueueLoad = object({
  pool: Pool,
  queued: Type.Integer({
    minimum: 0,
    description: 'Jobs that wait and could start now if there were slots; counted up to 10,000',
  }),
  running: Count,
  oldestQueuedSeconds: Type.Number({
    minimum: 0,
    description: 'How long the oldest of those that could start has waited',
  }),
  estimatedLoad: Type.Number({
    minimum: 0,
    description: 'Slots that, kept busy, end all of this work in about a minute; no job counts as more than one slot',
  }),
  desiredSlots: Count,
  needsScaleOut: Type.Boolean(),
  needsScaleIn: Type.Boolean(),
  drainable: Type.Array(Id, { description: 'Idle workers that may go, longest idle first; empty unless needsScaleIn' }),
  slots: Type.Integer({ minimum: 0, description: 'Of the workers online and not draining' }),
  freeSlots: Count,
  drainingSlots: Count,
  unplaceable: Type.Integer({
    minimum: 0,
    description: 'Waiting jobs that no worker of the pool could ever take: more workers do not help',
  }),
})
export type QueueLoad = Static<typeof QueueLoad>

export const getQueueLoad = endpoint({
  name: 'getQueueLoad',
  summary: `How much work waits for the workers of a pool (${defaultPool} unless given), and whether more or fewer are needed`,
  method: 'GET',
  path: '/api/v1/queues/load',
  access: 'metrics',
  limit: 'admin',
  query: object({ pool: Type.Optional(Pool) }),
  status: 200,
  reply: QueueLoad,
  errors: [],
})

export const getMetrics = endpoint({
  name: 'getMetrics',
  summary: 'What the server counts and how it is, for Prometheus: docs/operations.md has the list',
  method: 'GET',
  path: '/metrics',
  access: 'metrics',
  limit: 'admin',
  status: 200,
  reply: null,
  produces: 'text/plain',
  errors: [],
})
