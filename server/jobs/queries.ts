import type { JobState } from '@hivesync/contracts/jobs.ts'
import type { Selectable, Updateable } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, withLocks } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { columnsOf, insert, oneOf, only, run, type Statement, statement } from '../platform/db/statement.ts'
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

export function getJob(db: Db, jobId: string): Promise<JobRow> {
  return db.selectFrom('jobs').selectAll().where('id', '=', jobId).executeTakeFirstOrThrow()
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
export const shown = [
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
  'requestId',
  'traceParent',
] as const satisfies readonly (keyof JobRow)[]

const shownColumns = columnsOf('jobs', shown)

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

/** What a lease stands for, with the keys of its worker; the input of an ingest only. */
export interface FoundLease extends Pick<LeaseRow, 'token' | 'jobId' | 'projectId' | 'teamId' | 'workerId'> {
  number: number
  publicKey: string
  previousPublicKey: string | null
  input: string | null
}

/** Those of the leases that this worker holds, by their tokens. */
export async function findLeases(db: Db, actor: Actor, tokens: readonly number[]): Promise<Map<number, FoundLease>> {
  const found = await run<FoundLease>(
    db,
    statement`select job_leases.token, job_leases.job_id, job_leases.project_id, job_leases.team_id, job_leases.worker_id,
        job_attempts.number, workers.public_key, workers.previous_public_key, case when jobs.kind = 'ingest' then jobs.input end as input
      from job_leases join job_attempts on job_attempts.token = job_leases.token join workers on workers.id = job_leases.worker_id
        join jobs on jobs.id = job_leases.job_id
      where job_leases.token ${oneOf('bigint', tokens)} and job_leases.worker_id = ${actor.id}`,
  )
  return new Map(found.map((lease) => [lease.token, lease]))
}

/** A lease with its attempt and its job, all three locked. */
export interface HeldJob {
  lease: LeaseRow
  attempt: Pick<Selectable<Schema['jobAttempts']>, 'number' | 'phases'>
  job: Omit<JobRow, 'input'>
}

/** Those of the leases that these workers hold, by their tokens: everything that ends them. In the order in which everybody locks leases. */
export async function lockHeldJobs(
  tx: Db,
  workerIds: readonly string[],
  tokens: readonly number[],
): Promise<Map<number, HeldJob>> {
  type Held = { token: number; workerId: string; leasePhase: LeaseRow['phase']; until: number }
  const found = await run<HeldJob['job'] & HeldJob['attempt'] & Held>(
    tx,
    statement`select ${shownColumns}, job_leases.token, job_leases.worker_id, job_leases.phase as lease_phase, job_leases.expires_at as until,
        job_attempts.number, job_attempts.phases
      from job_leases join jobs on jobs.id = job_leases.job_id join job_attempts on job_attempts.token = job_leases.token
      where job_leases.token ${oneOf('bigint', tokens)} and job_leases.worker_id ${oneOf('text', workerIds)}
      order by job_leases.token ${only('postgres', statement`for update of job_leases, jobs, job_attempts`)}`,
  )
  return new Map(
    found.map(({ token, workerId, leasePhase, until, number, phases, ...job }) => {
      const { id: jobId, projectId, teamId, kind, pool } = job
      const lease = { token, jobId, projectId, teamId, kind, workerId, pool, phase: leasePhase, expiresAt: until }
      return [token, { lease, attempt: { number, phases }, job }]
    }),
  )
}

const leaseColumns = columnsOf('job_leases', [
  'token',
  'jobId',
  'projectId',
  'teamId',
  'kind',
  'workerId',
  'phase',
  'expiresAt',
  'pool',
])

/** Those of the leases that these workers hold, locked, with the numbers of their attempts. */
export function lockLeases(
  tx: Db,
  workerIds: readonly string[],
  tokens: readonly number[],
): Promise<(LeaseRow & { number: number })[]> {
  return run(
    tx,
    statement`select ${leaseColumns}, job_attempts.number from job_leases join job_attempts on job_attempts.token = job_leases.token
      where job_leases.token ${oneOf('bigint', tokens)} and job_leases.worker_id ${oneOf('text', workerIds)}
      order by job_leases.token ${only('postgres', statement`for update of job_leases`)}`,
  )
}

/** The statement that ends leases. */
export function deleteLeases(tokens: readonly number[]): Statement {
  return statement`delete from job_leases where token ${oneOf('bigint', tokens)}`
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
