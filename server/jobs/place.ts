import { sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { least } from '../platform/db/dialect.ts'
import type { JobRow } from './queries.ts'

/** More of them are not counted: nobody waits more exactly than that. */
const maxCounted = 1000

/**
 * About how many jobs are served before this one: those of its team that go first, and what the other teams with waiting jobs get meanwhile by their weights.
 * An estimate: others still submit, and which worker is free next decides too. Relies on job_queue_order and team_shares_ready.
 */
export async function countPlace(db: Db, job: JobRow, rank: number, now: number): Promise<number> {
  const ahead = await countAhead(db, job, rank, now)
  const { weight } = await db
    .selectFrom('teamShares')
    .select('weight')
    .where('teamId', '=', job.teamId)
    .executeTakeFirstOrThrow()
  const share = sql<number>`(${ahead} * weight) / ${weight}`
  const { others } = await db
    .selectFrom('teamShares')
    .select((eb) => eb.fn.coalesce(eb.fn.sum<number>(least(db, sql<number>`waiting`, share)), eb.val(0)).as('others'))
    .where('waiting', '>', 0)
    .whereRef('running', '<', 'maxRunning')
    .where('teamId', '<>', job.teamId)
    .executeTakeFirstOrThrow()
  return ahead + Number(others)
}

async function countAhead(db: Db, job: JobRow, rank: number, now: number): Promise<number> {
  const first = db
    .selectFrom('jobQueue')
    .select('jobId')
    .where('teamId', '=', job.teamId)
    .where('pool', '=', job.pool)
    .where((eb) => eb.or([eb('rank', '<', rank), eb.and([eb('rank', '=', rank), eb('jobId', '<', job.id)])]))
    .where('runAt', '<=', now)
    .limit(maxCounted)
  const { count } = await db
    .selectFrom(first.as('first'))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return count
}
