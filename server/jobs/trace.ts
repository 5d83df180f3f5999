import type { OutboxEvent } from '../outbox/outbox.ts'
import type { Context } from '../platform/context.ts'
import type { Tracer } from '../platform/tracing.ts'
import { findJob, type JobRow, listAttemptRows } from './queries.ts'
import { isFinal } from './read.ts'

/** Spans of jobs at a time that came with a trace: a burst must not read the database for its traces alone. */
const mostTraced = 20
const mostAttempts = 50

/**
 * Hands the lives of jobs that have just ended to the tracer: the job below the request that it came with, its attempts below the job, and their phases below the
 * attempts. What cannot be read is missing from the trace.
 */
export function traceJobs(ctx: Context, events: readonly OutboxEvent[]): void {
  const { tracer } = ctx
  if (tracer === undefined) return
  const ended = events.filter(({ topic }) => topic.startsWith('job.') && isFinal(topic.slice('job.'.length)))
  traceEach(ctx, tracer, ended.slice(0, mostTraced)).catch((error: unknown) => {
    ctx.log.error({ event: 'job_not_traced' }, error)
  })
}

async function traceEach(ctx: Context, tracer: Tracer, events: readonly OutboxEvent[]): Promise<void> {
  for (const { payload } of events) {
    const job = await findJob(ctx.db.kysely, String(payload.jobId))
    if (job?.traceParent?.endsWith('-01')) await traceJob(ctx, tracer, job, job.traceParent)
  }
}

async function traceJob(ctx: Context, tracer: Tracer, job: JobRow, parent: string): Promise<void> {
  const endMs = job.finishedAt ?? ctx.clock.now()
  const place = tracer.begin(parent)
  const isError = job.state === 'failed'
  const attributes = { 'hivesync.job.id': job.id, 'hivesync.job.kind': job.kind, 'hivesync.job.state': job.state }
  tracer.end(place, parent, {
    ...{ name: `job ${job.kind}`, kind: 'internal', startMs: job.submittedAt, endMs, attributes, isError },
  })
  const rows = await listAttemptRows(ctx.db.kysely, job.id, { limit: mostAttempts, after: 0 })
  for (const { number, claimedAt, endedAt, outcome, phases } of rows) {
    const attempt = tracer.begin(place)
    const attemptEndMs = endedAt ?? endMs
    tracer.end(attempt, place, {
      ...{ name: 'attempt', kind: 'internal', startMs: claimedAt, endMs: attemptEndMs },
      attributes: { 'hivesync.attempt.number': number, 'hivesync.attempt.outcome': outcome ?? 'unknown' },
      isError: outcome !== null && outcome !== 'succeeded',
    })
    for (const phase of JSON.parse(phases) as { phase: string; startedAt: number; endedAt: number | null }[])
      tracer.end(tracer.begin(attempt), attempt, {
        ...{ name: `phase ${phase.phase}`, kind: 'internal', attributes: {} },
        ...{ startMs: phase.startedAt, endMs: phase.endedAt ?? attemptEndMs },
      })
  }
}
