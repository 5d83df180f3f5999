import { Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { RepositoryUrlText } from './job-kinds.ts'
import { nullable, object } from './values.ts'

/** Pharos clients: snake_case, one project per token. */
export const legacyIngest = endpoint({
  name: 'legacyIngest',
  summary: 'Queue an ingest into the project that the API key is bound to',
  method: 'POST',
  path: '/ingest',
  access: 'ingest:write',
  limit: 'write',
  body: Type.Union([object({ repo_url: RepositoryUrlText }), RepositoryUrlText]),
  status: 202,
  reply: object({
    job_id: Type.String(),
    status: Type.Literal('queued'),
    submitted_at: Type.String(),
    ttl: Type.Integer(),
  }),
  errors: ['project_not_found', 'permission_denied', 'queue_full', 'repository_refused', 'project_archived'],
})

const LegacyHistory = object({
  job_id: Type.String(),
  status: Type.String(),
  submitted_at: Type.String(),
  started_at: nullable(Type.String()),
  finished_at: nullable(Type.String()),
  duration_ms: nullable(Type.Integer()),
  reason: nullable(Type.String()),
})

export const legacyWorkerStatus = endpoint({
  name: 'legacyWorkerStatus',
  summary:
    'What the workers do for the project that the API key is bound to; over a WebSocket, again whenever it changes',
  method: 'GET',
  path: '/worker/status',
  access: 'ingest:read',
  limit: 'read',
  status: 200,
  upgrade: 'websocket',
  reply: object({
    status: Type.Enum(['idle', 'busy', 'stuck', 'offline']),
    current: nullable(
      object({
        job_id: Type.String(),
        phase: nullable(Type.String()),
        progress: nullable(Type.Integer()),
        message: nullable(Type.String()),
      }),
    ),
    queue: object({ pending: Type.Integer(), max: Type.Integer() }),
    history: Type.Array(LegacyHistory),
  }),
  errors: ['project_not_found'],
})
