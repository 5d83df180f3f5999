import { sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, isOneOf } from '../platform/db/dialect.ts'
import { insert, oneOf, run, type Statement, statement } from '../platform/db/statement.ts'
import type { LeaseRow } from './queries.ts'
import { hasRights } from './rights.ts'

export interface Candidate {
  jobId: string
  projectId: string
  teamId: string
  kind: string
  pool: string
  rank: number
}

/** Those of the workers that may have work at this moment: one revoked or draining since it began to poll gets none. Locked, so that a revocation sees what was claimed before it. */
export async function listAbleWorkers(tx: Db, workerIds: readonly string[], now: number): Promise<Set<string>> {
  const able = tx
    .selectFrom('workers')
    .select('id')
    .where(isOneOf(tx, 'id', workerIds))
    .where('revokedAt', 'is', null)
    .where('drainingAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .orderBy('id')
  return new Set((await forUpdate(tx, able).execute()).map((worker) => worker.id))
}

/** Whether the team has queues that are paused or limited, or a kind is paused everywhere. Costs nothing where there are none. */
const isLimited = sql<number>`case when exists (select 1 from queue_pauses) or exists (
    select 1 from queue_counters join projects on projects.id = queue_counters.project_id
    where projects.team_id = team_shares.team_id
      and (queue_counters.paused_at is not null or queue_counters.max_running is not null)
  ) then 1 else 0 end`

/** Teams with waiting jobs and room to run them, least served first. Relies on team_shares_ready. */
export function listReadyTeams(
  tx: Db,
  query: { teamId: string | null; after: { pass: number; teamId: string } | undefined; limit: number },
) {
  const { teamId, after } = query
  let teams = tx
    .selectFrom('teamShares')
    .select(['teamId', 'pass', 'weight', sql<number>`max_running - running`.as('free'), isLimited.as('isLimited')])
    .where('waiting', '>', 0)
    .whereRef('running', '<', 'maxRunning')
    .orderBy('pass')
    .orderBy('teamId')
    .limit(query.limit)
  if (teamId !== null) teams = teams.where('teamId', '=', teamId)
  if (after !== undefined)
    teams = teams.where((eb) =>
      eb.or([eb('pass', '>', after.pass), eb.and([eb('pass', '=', after.pass), eb('teamId', '>', after.teamId)])]),
    )
  return teams.execute()
}

/** The statement that takes jobs out of the queue. */
export function deleteQueuedJobs(jobIds: readonly string[]): Statement {
  return statement`delete from job_queue where job_id ${oneOf('text', jobIds)}`
}

/** Marks the jobs as leased and tells which of them still have the rights they act with. */
export function setLeased(tx: Db, jobIds: readonly string[], now: number) {
  return tx
    .updateTable('jobs')
    .set({ state: 'leased', phase: null, progress: null, message: null })
    .where(isOneOf(tx, 'id', jobIds))
    .returning([
      'id',
      'projectId',
      'teamId',
      'kind',
      'input',
      'attempt',
      'requestId',
      'traceParent',
      hasRights(now).as('hasRights'),
    ])
    .execute()
}

const attemptColumns = {
  jobId: 'text',
  workerId: 'text',
  number: 'bigint',
  claimedAt: 'bigint',
} as const

/** Writes one attempt per claimed job; the database's sequence gives each its fencing token, which only grows. */
export function insertAttempts(
  tx: Db,
  attempts: readonly { jobId: string; workerId: string; number: number; claimedAt: number }[],
): Promise<{ jobId: string; token: number }[]> {
  return run(tx, insert('job_attempts', attemptColumns, attempts, 'returning job_id, token'))
}

const leaseColumns = {
  token: 'bigint',
  jobId: 'text',
  projectId: 'text',
  teamId: 'text',
  kind: 'text',
  workerId: 'text',
  phase: 'text',
  expiresAt: 'bigint',
  pool: 'text',
} as const

/** The statement that writes leases whose work has not begun. */
export function insertLeases(leases: readonly Omit<LeaseRow, 'phase'>[]): Statement {
  return insert(
    'job_leases',
    leaseColumns,
    leases.map((lease) => ({ ...lease, phase: 'dispatched' })),
  )
}
