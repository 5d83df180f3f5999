import type { JobState } from '@hivesync/contracts/jobs.ts'
import type { Selectable, Updateable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, withLocks } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { insert, run, type Statement } from '../platform/db/statement.ts'
import type { PageRequest } from '../platform/page.ts'
import { policy } from './policy.ts'

export type JobRow = Selectable<Schema['jobs']>
export type LeaseRow = Selectable<Schema['jobLeases']>

type Queueable = Pick<
  JobRow,
  'id' | 'projectId' | 'teamId' | 'kind' | 'pool' | 'priority' | 'labels' | 'expiresAt' | 'submittedAt'
>

const queueColumns = {
  jobId: 'text',
  projectId: 'text',
  teamId: 'text',
  kind: 'text',
  pool: 'text',
  priority: 'bigint',
  rank: 'bigint',
  labels: 'text',
  runAt: 'bigint',
  expiresAt: 'bigint',
} as const

/** The statement that puts jobs into the queue, each not to run before its time. */
export function insertQueuedRows(entries: readonly { job: Queueable; runAt: number }[]): Statement {
  const rows = entries.map(({ job: { id, ...job }, runAt }) => ({
    ...job,
    jobId: id,
    rank: job.submittedAt - job.priority * policy.headStartMs,
    runAt,
  }))
  return insert('job_queue', queueColumns, rows)
}

export async function insertQueued(tx: Db, job: JobRow, runAt: number): Promise<void> {
  await run(tx, insertQueuedRows([{ job, runAt }]))
}

/** Takes a job out of the queue; false when a claim was faster. */
export async function deleteQueued(tx: Db, jobId: string): Promise<boolean> {
  const result = await tx.deleteFrom('jobQueue').where('jobId', '=', jobId).executeTakeFirst()
  return result.numDeletedRows === 1n
}

/** Takes a job out of the queue if its time to live is over; one statement, so that a job queued anew meanwhile stays. */
export async function deleteExpired(tx: Db, jobId: string, now: number): Promise<boolean> {
  const result = await tx
    .deleteFrom('jobQueue')
    .where('jobId', '=', jobId)
    .where('expiresAt', '<=', now)
    .executeTakeFirst()
  return result.numDeletedRows === 1n
}

// Two requests with one new key queue up here: the second then finds what the first has stored.
export function lockIdempotencyKeys(tx: Db, keys: readonly { projectId: string; key: string }[]): Promise<void> {
  return withLocks(
    tx,
    keys.map(({ projectId, key }) => `idempotency:${projectId}:${key}`),
  )
}

export function findJobByKey(db: Db, projectId: string, key: string): Promise<JobRow | undefined> {
  return db
    .selectFrom('jobs')
    .selectAll()
    .where('projectId', '=', projectId)
    .where('idempotencyKey', '=', key)
    .executeTakeFirst()
}

export function findJob(db: Db, jobId: string): Promise<JobRow | undefined> {
  return db.selectFrom('jobs').selectAll().where('id', '=', jobId).executeTakeFirst()
}

/** A project, whoever asks. */
export function findProject(db: Db, projectId: string) {
  return db.selectFrom('projects').select(['id', 'teamId', 'archivedAt']).where('id', '=', projectId).executeTakeFirst()
}

/** Where a job belongs, whoever asks: for those who may act on a job without being a member of its project. */
export function getProjectOf(db: Db, job: JobRow) {
  return db
    .selectFrom('projects')
    .select(['id', 'teamId', 'archivedAt'])
    .where('id', '=', job.projectId)
    .executeTakeFirstOrThrow()
}

/** The job, held until the transaction ends. */
export function lockJob(tx: Db, jobId: string): Promise<JobRow | undefined> {
  return forUpdate(tx, tx.selectFrom('jobs').selectAll().where('id', '=', jobId)).executeTakeFirst()
}

export function setJob(tx: Db, jobId: string, change: Updateable<Schema['jobs']>): Promise<JobRow> {
  return tx.updateTable('jobs').set(change).where('id', '=', jobId).returningAll().executeTakeFirstOrThrow()
}

/** Everything of a job but its input. */
const shown = [
  'id',
  'projectId',
  'teamId',
  'kind',
  'state',
  'phase',
  'progress',
  'message',
  'priority',
  'labels',
  'subject',
  'submittedByUser',
  'submittedByKey',
  'submittedAt',
  'ttlSeconds',
  'expiresAt',
  'attempt',
  'maxAttempts',
  'infrastructureFailures',
  'uncountedAttempts',
  'startedAt',
  'finishedAt',
  'result',
  'error',
  'skipReason',
  'cancelRequestedAt',
  'completedToken',
  'completionHash',
  'logSeq',
  'logBytes',
  'idempotencyKey',
  'requestHash',
  'pool',
  'backoff',
  'scheduleId',
  'scheduledFor',
] as const satisfies readonly (keyof JobRow)[]

/** Jobs without their inputs: two hundred of 1 MiB would keep the process from everybody else for half a second. */
export function listJobRows(
  db: Db,
  projectId: string,
  filter: { state?: JobState; kind?: string },
  page: PageRequest,
): Promise<Omit<JobRow, 'input'>[]> {
  let rows = db
    .selectFrom('jobs')
    .select(shown)
    .where('projectId', '=', projectId)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (filter.state !== undefined) rows = rows.where('state', '=', filter.state)
  if (filter.kind !== undefined) rows = rows.where('kind', '=', filter.kind)
  if (page.after !== undefined) rows = rows.where('id', '<', page.after)
  return rows.execute()
}

export function findLeaseOfJob(db: Db, jobId: string): Promise<LeaseRow | undefined> {
  return db.selectFrom('jobLeases').selectAll().where('jobId', '=', jobId).executeTakeFirst()
}

/** The lease that this worker holds under this token, locked: every effect of an attempt is fenced by it. */
export function lockLease(tx: Db, workerId: string, token: number): Promise<LeaseRow | undefined> {
  return forUpdate(
    tx,
    tx.selectFrom('jobLeases').selectAll().where('token', '=', token).where('workerId', '=', workerId),
  ).executeTakeFirst()
}

/** Ends a lease; false when it was already gone. */
export async function deleteLease(tx: Db, token: number): Promise<boolean> {
  const result = await tx.deleteFrom('jobLeases').where('token', '=', token).executeTakeFirst()
  return result.numDeletedRows === 1n
}

export async function setAttempt(tx: Db, token: number, change: Updateable<Schema['jobAttempts']>): Promise<void> {
  await tx.updateTable('jobAttempts').set(change).where('token', '=', token).execute()
}

export function getAttempt(db: Db, token: number) {
  return db.selectFrom('jobAttempts').selectAll().where('token', '=', token).executeTakeFirstOrThrow()
}

export function listAttemptRows(db: Db, jobId: string, page: { limit: number; after: number }) {
  return db
    .selectFrom('jobAttempts')
    .leftJoin('workers', 'workers.id', 'jobAttempts.workerId')
    .selectAll('jobAttempts')
    .select('workers.name as workerName')
    .where('jobAttempts.jobId', '=', jobId)
    .where('jobAttempts.token', '>', page.after)
    .orderBy('jobAttempts.token')
    .limit(page.limit + 1)
    .execute()
}
