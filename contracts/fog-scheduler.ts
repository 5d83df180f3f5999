import { Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Command, ComputeEnv } from './job-kinds.ts'
import { Id, Name, object } from './values.ts'

/** Fog's service levels, which become priorities. */
export const serviceLevels = { platinum: 9, gold: 7, silver: 5, bronze: 3 } as const

export const submitFogJob = endpoint({
  name: 'submitFogJob',
  summary:
    'Queue a compute job in Fog’s words: into the project that the API key is bound to, else into the person’s project `fog`. Fog’s jobs name no program: without `command` it takes its turn, holds its slot for a moment and succeeds',
  method: 'POST',
  path: '/api/scheduler/jobs',
  access: 'jobs:write',
  limit: 'write',
  body: object({
    name: Name,
    sla_tier: Type.Enum(['platinum', 'gold', 'silver', 'bronze', 'PLATINUM', 'GOLD', 'SILVER', 'BRONZE']),
    cpu_required: Type.Number({
      minimum: 0,
      maximum: 64,
      description: 'Cores; a job has one slot, whatever it says here',
    }),
    memory_required: Type.Number({ minimum: 0, maximum: 4, description: 'GB; the limit of the job' }),
    gpu_required: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 8,
        description: 'More than 0: only a worker with a graphics device takes it',
      }),
    ),
    duration_estimate: Type.Optional(
      Type.Union([
        Type.Number({
          minimum: 0,
          maximum: 60,
          description: 'Minutes; it may run for twice as long, at least 5 and at most 60',
        }),
        Type.Null(),
      ]),
    ),
    data_size_mb: Type.Optional(
      Type.Union([Type.Number({ minimum: 0, maximum: 1024, description: 'The room of the job on disk' }), Type.Null()]),
    ),
    command: Type.Optional(Command),
    env: Type.Optional(ComputeEnv),
  }),
  maxBodyBytes: 1024 * 1024,
  status: 200,
  reply: object({
    success: Type.Literal(true),
    jobId: Id,
    status: Type.Literal('pending'),
    estimatedStartTime: Type.Null(),
    sla: Type.String(),
  }),
  errors: ['project_not_found', 'permission_denied', 'project_archived', 'queue_full', 'idempotency_mismatch'],
})

export const cancelFogJob = endpoint({
  name: 'cancelFogJob',
  summary: 'Cancel a job in Fog’s words; canceling a canceled one changes nothing',
  method: 'DELETE',
  path: '/api/scheduler/jobs/:jobId',
  access: 'jobs:write',
  limit: 'write',
  params: object({ jobId: Id }),
  status: 200,
  reply: object({ success: Type.Literal(true), jobId: Id, status: Type.Literal('cancelled') }),
  errors: ['job_not_found', 'permission_denied', 'job_finished'],
})
