import type { JobTimings } from '@hivesync/contracts/jobs.ts'
import type { Db } from '../platform/db/db.ts'
import { type JobRow, listAttemptRows } from './queries.ts'

/** As many as a job may have several times over; of a job that was retried without end, the first. */
const maxAttempts = 200

/** Where the time of a job went, in waiting and in each attempt's phases; what has not ended is counted up to now. */
export async function timingsOf(db: Db, job: JobRow, now: number): Promise<JobTimings> {
  const attempts = await listAttemptRows(db, job.id, { limit: maxAttempts, after: 0 })
  const end = job.finishedAt ?? now
  let waitingMs = 0
  let waitsSince: number | null = job.submittedAt
  for (const { claimedAt, endedAt } of attempts) {
    waitingMs += span(waitsSince ?? claimedAt, claimedAt)
    waitsSince = endedAt
  }
  if (waitsSince !== null && attempts.length < maxAttempts) waitingMs += span(waitsSince, end)
  return {
    queueToStartMs: job.startedAt === null ? null : span(job.submittedAt, job.startedAt),
    waitingMs,
    totalMs: span(job.submittedAt, end),
    attempts: attempts.map(({ number, claimedAt, startedAt, endedAt, phases }) => ({
      number,
      startMs: startedAt === null ? null : span(claimedAt, startedAt),
      totalMs: span(claimedAt, endedAt ?? now),
      phases: readPhases(phases).map((phase) => ({
        phase: phase.phase,
        ms: span(phase.startedAt, phase.endedAt ?? endedAt ?? now),
      })),
    })),
  }
}

/** Replicas' clocks differ by some milliseconds: no time is negative. */
const span = (from: number, to: number): number => Math.max(0, to - from)

function readPhases(text: string): { phase: string; startedAt: number; endedAt: number | null }[] {
  return JSON.parse(text)
}
