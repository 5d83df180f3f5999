import { type Insertable, sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, forUpdateSkipLocked, isOneOf } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { hasRights } from './rights.ts'

export interface Candidate {
  jobId: string
  projectId: string
  teamId: string
  kind: string
}

/** Those of the workers that may have work at this moment: one revoked or draining since it began to poll gets none. Locked, so that a revocation sees what was claimed before it. */
export async function listAbleWorkers(tx: Db, workerIds: readonly string[], now: number): Promise<Set<string>> {
  const able = tx
    .selectFrom('workers')
    .select('id')
    .where('id', 'in', workerIds)
    .where('revokedAt', 'is', null)
    .where('drainingAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .orderBy('id')
  return new Set((await forUpdate(tx, able).execute()).map((worker) => worker.id))
}

/** Teams with waiting jobs and room to run them, least served first, locked; a team that another claim holds is passed over. Relies on team_shares_ready. */
export function listReadyTeams(
  tx: Db,
  query: { teamId: string | null; after: { pass: number; teamId: string } | undefined; limit: number },
) {
  const { teamId, after } = query
  let teams = tx
    .selectFrom('teamShares')
    .select(['teamId', 'pass', 'weight', sql<number>`max_running - running`.as('free')])
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
  return forUpdateSkipLocked(tx, teams).execute()
}

/** A team's best waiting jobs that may run now, locked. Relies on job_queue_order. */
export function listCandidates(
  tx: Db,
  query: { teamId: string; kinds: readonly string[]; labels: readonly string[]; now: number; limit: number },
): Promise<Candidate[]> {
  // Anyone who submits can wait with label sets of their own making: many must not fail everybody's claim.
  const isFew = query.labels.length <= 100
  const candidates = tx
    .selectFrom('jobQueue')
    .select(['jobId', 'projectId', 'teamId', 'kind'])
    .where('teamId', '=', query.teamId)
    .where('kind', 'in', query.kinds)
    .where((eb) => (isFew ? eb('labels', 'in', query.labels) : isOneOf(tx, 'labels', query.labels)))
    .where('runAt', '<=', query.now)
    .where('expiresAt', '>', query.now)
    .orderBy('priority', 'desc')
    .orderBy('jobId')
    .limit(query.limit)
  return forUpdateSkipLocked(tx, candidates).execute()
}

export async function listWaitingLabels(tx: Db): Promise<string[]> {
  const rows = await tx.selectFrom('jobQueue').select('labels').distinct().where('labels', '<>', '[]').execute()
  return rows.map((row) => row.labels)
}

export async function takeShare(tx: Db, teamId: string, count: number, pass: number): Promise<void> {
  await tx
    .updateTable('teamShares')
    .set((eb) => ({ waiting: eb('waiting', '-', count), running: eb('running', '+', count), pass }))
    .where('teamId', '=', teamId)
    .execute()
}

export async function deleteQueuedJobs(tx: Db, jobIds: readonly string[]): Promise<void> {
  await tx.deleteFrom('jobQueue').where('jobId', 'in', jobIds).execute()
}

/** Marks the jobs as leased and tells which of them still have the rights they act with. */
export function setLeased(tx: Db, jobIds: readonly string[], now: number) {
  return tx
    .updateTable('jobs')
    .set({ state: 'leased', phase: null, progress: null, message: null })
    .where('id', 'in', jobIds)
    .returning(['id', 'projectId', 'teamId', 'kind', 'input', 'attempt', hasRights(now).as('hasRights')])
    .execute()
}

/** Writes one attempt per claimed job; the database's sequence gives each its fencing token, which only grows. */
export function insertAttempts(tx: Db, rows: readonly Insertable<Schema['jobAttempts']>[]) {
  return tx
    .insertInto('jobAttempts')
    .values([...rows])
    .returning(['jobId', 'token'])
    .execute()
}

export async function insertLeases(tx: Db, rows: readonly Insertable<Schema['jobLeases']>[]): Promise<void> {
  await tx
    .insertInto('jobLeases')
    .values([...rows])
    .execute()
}
