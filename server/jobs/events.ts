import type { Db } from '../platform/db/db.ts'
import { insert, run, type Statement } from '../platform/db/statement.ts'
import { policy } from './policy.ts'

/** What happened to a job, in the transaction in which it happened; the live stream and the history are read from here. */
export type JobEvent =
  | { kind: 'state'; data: { state: string; attempt?: number; reason?: string } }
  | { kind: 'phase'; data: { phase: string; before: { phase: string; ms: number } | null } }
  | { kind: 'progress'; data: { phase: string; progress: number | null; message: string | null } }

export async function recordEvents(
  tx: Db,
  at: number,
  events: readonly (JobEvent & { jobId: string })[],
): Promise<void> {
  if (events.length > 0) await run(tx, insertEvents(at, events))
}

const eventColumns = { jobId: 'text', at: 'bigint', kind: 'text', data: 'text' } as const

/** The statement that records them, to run together with others. */
export function insertEvents(at: number, events: readonly (JobEvent & { jobId: string })[]): Statement {
  const rows = events.map(({ jobId, kind, data }) => ({ jobId, at, kind, data: JSON.stringify(data) }))
  return insert('job_events', eventColumns, rows)
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
