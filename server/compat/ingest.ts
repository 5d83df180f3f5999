import { readIngestStatus, submitJob } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { requireBoundProject } from '../projects/projects.ts'

/** Pharos' `POST /ingest`: an ingest job in the project that the key is bound to. */
export async function legacyIngest(ctx: Context, actor: Actor, body: string | { repo_url: string }) {
  const project = await requireBoundProject(ctx.db.kysely, actor, 'ingest:write')
  const repository = typeof body === 'string' ? body : body.repo_url
  // The scope `ingest` is exactly the right to submit this kind of job, so the actor may do so here and nothing else.
  const submitter: Actor = { ...actor, permissions: new Set([...actor.permissions, 'jobs:write']) }
  const job = await submitJob(ctx, submitter, project.id, { kind: 'ingest', input: { repository } })
  return { job_id: job.id, status: 'queued' as const, submitted_at: job.submittedAt, ttl: job.ttlSeconds }
}

const historyLength = 20
/** A started lease that has not been heard of though it still lives: a beat may be held open for 20 s, and the next comes within five. */
const silentMs = 26_000

/** Pharos' `GET /worker/status`: what happens to the project's ingest jobs, in the words of the old clients. */
export async function legacyWorkerStatus(ctx: Context, actor: Actor) {
  const project = await requireBoundProject(ctx.db.kysely, actor, 'ingest:read')
  const status = await readIngestStatus(ctx, project.id, { historyLength, silentMs })
  return {
    status: status.state,
    current: status.current,
    queue: { pending: status.waiting, max: status.maxWaiting },
    history: status.history.map((job) => ({
      job_id: job.id,
      status: job.state,
      submitted_at: isoTime(job.submittedAt),
      started_at: isoTime(job.startedAt),
      finished_at: isoTime(job.finishedAt),
      duration_ms: job.startedAt === null || job.finishedAt === null ? null : job.finishedAt - job.startedAt,
      reason: job.reason,
    })),
  }
}
