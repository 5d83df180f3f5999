import { type RawBuilder, sql } from 'kysely'
import { workerAwayMs } from '../jobs/jobs.ts'
import type { Db } from '../platform/db/db.ts'
import { joinedLines } from '../platform/db/dialect.ts'
import { run, statement } from '../platform/db/statement.ts'

/** Teams looked at: more that wait at once do not change whether machines are needed. */
const maxTeams = 1000
/** Of each team; beyond the first ones its own limit holds the rest back. */
const headsPerTeam = 200
const maxCounted = 10_000
const recentAttempts = 500

export interface Head {
  teamId: string
  free: number
  kind: string
  runAt: number
  labels: string[]
}

/** The first jobs in line of each team that may run more, whatever they ask for. Relies on job_queue_order. */
export async function listHeads(db: Db, pool: string, now: number): Promise<Head[]> {
  const head: RawBuilder<string | null> =
    sql`(select ${joinedLines(db, sql`kind || ' ' || run_at || ' ' || labels`)} from (
    select kind, run_at, labels from job_queue where job_queue.team_id = team_shares.team_id and pool = ${pool} and run_at <= ${now} and expires_at > ${now}
    order by rank, job_id limit ${sql.lit(headsPerTeam)}) as heads)`
  const rows = await db
    .selectFrom('teamShares')
    .select(['teamId', sql<number>`max_running - running`.as('free'), head.as('heads')])
    .where('waiting', '>', 0)
    .whereRef('running', '<', 'maxRunning')
    .orderBy('pass')
    .limit(maxTeams)
    .execute()
  return rows.flatMap(({ teamId, free, heads }) =>
    (heads ?? '').split('\n').flatMap((line) => {
      const [, kind, runAt, labels] = /^(\S+) (\d+) (.*)$/.exec(line) ?? []
      return kind === undefined
        ? []
        : [{ teamId, free, kind, runAt: Number(runAt), labels: JSON.parse(labels ?? '[]') }]
    }),
  )
}

/** Team by team in job_queue_order: by the pool alone, a million jobs that wait in another would be read. In a cross join SQLite keeps that order. */
export async function countQueued(db: Db, pool: string, now: number): Promise<number> {
  const waiting = db
    .selectFrom('teamShares')
    .crossJoin('jobQueue')
    .select('jobId')
    .whereRef('jobQueue.teamId', '=', 'teamShares.teamId')
    .where('teamShares.waiting', '>', 0)
    .where('pool', '=', pool)
    .where('runAt', '<=', now)
    .where('expiresAt', '>', now)
    .limit(maxCounted)
  const row = await db
    .selectFrom(waiting.as('waiting'))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return row.count
}

export function listRunning(db: Db, pool: string) {
  return db
    .selectFrom('jobLeases')
    .innerJoin('jobAttempts', 'jobAttempts.token', 'jobLeases.token')
    .select(['jobLeases.kind', 'jobLeases.workerId', 'jobAttempts.claimedAt'])
    .where('jobLeases.workerId', 'in', db.selectFrom('workers').select('id').where('pool', '=', pool))
    .execute()
}

/** Durations of the last attempts that ran to an end, oldest first. */
export async function listDurations(db: Db): Promise<{ kind: string; seconds: number }[]> {
  const rows = await db
    .selectFrom('jobAttempts')
    .innerJoin('jobs', 'jobs.id', 'jobAttempts.jobId')
    .select(['jobs.kind', 'jobAttempts.claimedAt', 'jobAttempts.endedAt'])
    .where('jobAttempts.outcome', 'in', ['succeeded', 'failed'])
    .orderBy('jobAttempts.token', 'desc')
    .limit(recentAttempts)
    .execute()
  return rows
    .reverse()
    .map(({ kind, claimedAt, endedAt }) => ({ kind, seconds: ((endedAt ?? claimedAt) - claimedAt) / 1000 }))
}

/** The workers of a pool that may work, online or not. */
export async function listPoolWorkers(db: Db, pool: string, now: number) {
  const rows = await db
    .selectFrom('workers')
    .select([
      'id',
      'teamId',
      'labels',
      'kinds',
      'slots',
      'isolation',
      'refusing',
      'lastSeenAt',
      'drainingAt',
      'enrolledAt',
    ])
    .where('pool', '=', pool)
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .execute()
  return rows.map((row) => ({
    ...row,
    labels: JSON.parse(row.labels) as string[],
    kinds: JSON.parse(row.kinds) as string[],
    isOnline: row.lastSeenAt !== null && row.lastSeenAt > now - workerAwayMs,
    isSafe: row.isolation !== null && JSON.parse(row.isolation).level !== 'none',
  }))
}
export type PoolWorker = Awaited<ReturnType<typeof listPoolWorkers>>[number]

/** Pools that anybody uses: workers belong to them or jobs wait in them, each found by steps from one to the next in job_queue_order. */
export async function listPools(db: Db): Promise<string[]> {
  const found = await run<{ pool: string }>(
    db,
    statement`with recursive waiting (team_id, pool) as (
        select team_id, (select min(pool) from job_queue where job_queue.team_id = team_shares.team_id)
        from team_shares where waiting > 0
        union all
        select team_id, (select min(pool) from job_queue where job_queue.team_id = waiting.team_id and job_queue.pool > waiting.pool)
        from waiting where pool is not null
      ) select pool from workers where revoked_at is null union select pool from waiting where pool is not null`,
  )
  return found.map(({ pool }) => pool).sort()
}
