import type { Db } from '../platform/db/db.ts'
import { policy } from './policy.ts'

/** What happened to a job, in the transaction in which it happened; the live stream and the history are read from here. */
export type JobEvent =
  | { kind: 'state'; data: { state: string; attempt?: number; reason?: string } }
  | { kind: 'progress'; data: { phase: string; progress: number | null; message: string | null } }

export async function recordEvents(
  tx: Db,
  at: number,
  events: readonly (JobEvent & { jobId: string })[],
): Promise<void> {
  if (events.length === 0) return
  await tx
    .insertInto('jobEvents')
    .values(events.map(({ jobId, kind, data }) => ({ jobId, at, kind, data: JSON.stringify(data) })))
    .execute()
}

/** Whether a job has as many events as are kept of reports of progress: else a worker that reports without end fills the disk. */
export async function hasManyEvents(tx: Db, jobId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('jobEvents')
    .select('seq')
    .where('jobId', '=', jobId)
    .orderBy('seq')
    .offset(policy.maxProgressEvents)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
