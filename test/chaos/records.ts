import { readFileSync } from 'node:fs'
import type { Accepted } from './light-worker.ts'
import type { Row, Rows } from './rows.ts'

/** What a run has left of one job. */
export interface JobRecord {
  id: string
  projectId: string
  state: string
  key: string | null
  completedToken: number | null
  /** In the order in which they happened. */
  events: { state: string; reason: string | null }[]
  /** By token. */
  attempts: { token: number; number: number; isStarted: boolean; outcome: string | null }[]
  audits: string[]
  outbox: string[]
}

/** Reads every job with what was written of it. */
export async function readRecords(rows: Rows): Promise<Map<string, JobRecord>> {
  const records = new Map<string, JobRecord>()
  for (const row of await rows.read('select id, project_id, state, idempotency_key, completed_token from jobs'))
    records.set(String(row.id), {
      ...{ id: String(row.id), projectId: String(row.project_id), state: String(row.state) },
      key: textOf(row.idempotency_key),
      completedToken: row.completed_token === null ? null : Number(row.completed_token),
      ...{ events: [], attempts: [], audits: [], outbox: [] },
    })
  const each = async (sql: string, add: (record: JobRecord, row: Row) => void): Promise<void> => {
    for (const row of await rows.read(sql)) {
      const record = records.get(String(row.job_id))
      if (record === undefined) throw new Error(`a row about a job that is not there: ${JSON.stringify(row)}`)
      add(record, row)
    }
  }
  await each(`select job_id, data from job_events where kind = 'state' order by seq`, ({ events }, row) => {
    const { state, reason = null } = JSON.parse(String(row.data)) as { state: string; reason?: string }
    events.push({ state, reason })
  })
  await each(
    'select job_id, token, number, started_at, outcome from job_attempts order by token',
    ({ attempts }, row) => {
      const outcome = textOf(row.outcome)
      attempts.push({
        token: Number(row.token),
        number: Number(row.number),
        isStarted: row.started_at !== null,
        outcome,
      })
    },
  )
  await each(`select target_id as job_id, action from audit_events where target_kind = 'job'`, ({ audits }, row) =>
    audits.push(String(row.action)),
  )
  // In one statement: an event is either still there, or handed out.
  const told = await rows.read(`select topic, payload from outbox where topic like 'job.%'
    union all select type as topic, payload from webhook_deliveries where type like 'job.%'`)
  for (const { topic, payload } of told) {
    const { jobId, data } = JSON.parse(String(payload)) as { jobId?: string; data?: { jobId: string } }
    records.get(jobId ?? data?.jobId ?? '')?.outbox.push(String(topic))
  }
  return records
}

const textOf = (value: unknown): string | null => (value === null ? null : String(value))

/** The completions that light workers were told were accepted; the last line of a killed process may be cut. */
export function readAccepted(files: readonly string[]): Accepted[] {
  return files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as Accepted]
        } catch {
          return []
        }
      }),
  )
}
