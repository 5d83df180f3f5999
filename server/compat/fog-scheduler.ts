import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import { type submitFogJob as contract, serviceLevels } from '@hivesync/contracts/fog-scheduler.ts'
import type { ComputeInput } from '@hivesync/contracts/job-kinds.ts'
import { cancelJob, submitJob } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { createProject, findOwnProject } from '../projects/projects.ts'

type FogJob = BodyOf<typeof contract>

/** Where the jobs of Fog's clients go, which log in and know no projects. */
const projectName = 'fog'

/** Fog's `POST /api/scheduler/jobs`: a compute job with the priority of its service level and the limits that its requirements name. */
export async function submitFogJob(ctx: Context, actor: Actor, body: FogJob, idempotencyKey?: string) {
  const level = body.sla_tier.toLowerCase() as keyof typeof serviceLevels
  const projectId = await projectOf(ctx, actor)
  const submission = { kind: 'compute' as const, input: inputOf(body), priority: serviceLevels[level] }
  const job = await submitJob(ctx, actor, projectId, submission, idempotencyKey)
  return { success: true as const, jobId: job.id, status: 'pending' as const, estimatedStartTime: null, sla: level }
}

/** Fog's `DELETE /api/scheduler/jobs/{id}`. */
export async function cancelFogJob(ctx: Context, actor: Actor, jobId: string) {
  await cancelJob(ctx, actor, jobId)
  return { success: true as const, jobId, status: 'cancelled' as const }
}

async function projectOf(ctx: Context, actor: Actor): Promise<string> {
  if (actor.projectId !== null) return actor.projectId
  // Two first jobs at the same moment may make two: the older one is found from then on.
  const project = await findOwnProject(ctx.db.kysely, actor, projectName)
  return (project ?? (await createProject(ctx, actor, { name: projectName }))).id
}

function inputOf(body: FogJob): ComputeInput {
  const { name, memory_required, gpu_required = 0, duration_estimate, data_size_mb, command = ['true'], env } = body
  return {
    command,
    env: { FOG_JOB_NAME: name, ...env },
    ...(gpu_required > 0 && { gpu: true }),
    limits: {
      memoryMiB: Math.max(16, Math.ceil(memory_required * 1024)),
      wallSeconds: Math.min(3600, Math.max(300, Math.ceil((duration_estimate ?? 0) * 120))),
      ...(typeof data_size_mb === 'number' && { diskMiB: Math.max(256, Math.ceil(data_size_mb)) }),
    },
  }
}
