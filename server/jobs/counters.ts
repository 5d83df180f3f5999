import { isTier, tiers } from '@hivesync/contracts/tiers.ts'
import { sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { greatest } from '../platform/db/dialect.ts'

// Lock order everywhere: team_shares, then queue_counters by project and kind, then the job's own rows. It keeps concurrent verbs from deadlocking.

interface QueueOf {
  id: string
  teamId: string
}

/** Makes the row of a team's share; nothing where it exists. */
export async function ensureShare(tx: Db, { teamId }: QueueOf): Promise<void> {
  const { runningJobs } = await limitsOf(tx, teamId)
  await tx
    .insertInto('teamShares')
    .values({ teamId, maxRunning: runningJobs })
    .onConflict((conflict) => conflict.column('teamId').doNothing())
    .execute()
}

/** Makes the row that counts a project's queue; nothing where it exists. */
export async function ensureQueue(tx: Db, { id, teamId }: QueueOf, kind: string): Promise<void> {
  const { waitingJobs } = await limitsOf(tx, teamId)
  await tx
    .insertInto('queueCounters')
    .values({ projectId: id, kind, maxWaiting: waitingJobs })
    .onConflict((conflict) => conflict.columns(['projectId', 'kind']).doNothing())
    .execute()
}

async function limitsOf(tx: Db, teamId: string) {
  const { tier } = await tx.selectFrom('teams').select('tier').where('id', '=', teamId).executeTakeFirstOrThrow()
  return tiers[isTier(tier) ? tier : 'free']
}

/**
 * Counts one more waiting job of the team. A team that asked for nothing joins at the smallest pass of those it competes with, and when nobody
 * is ready at the largest pass given out: it must not spend credit saved up meanwhile, nor leave others to work off theirs (stride
 * scheduling, Waldspurger 1995, "dynamic client participation"; at the end of a busy period start-time fair queueing, Goyal 1996).
 * False where the team has no row yet.
 */
export async function addWaitingShare(tx: Db, teamId: string): Promise<boolean> {
  const smallest = sql<number>`coalesce((select min(ready.pass) from team_shares ready where ready.waiting > 0 and ready.running < ready.max_running), (select max(served.pass) from team_shares served), 0)`
  const result = await tx
    .updateTable('teamShares')
    .set((eb) => ({
      waiting: eb('waiting', '+', 1),
      pass: sql<number>`case when waiting = 0 then ${greatest(tx, sql<number>`pass`, smallest)} else pass end`,
    }))
    .where('teamId', '=', teamId)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Takes a waiting place in the project's queue if one is free; false when the cap is reached. One statement, so no two submissions share the last place (property 16). */
export async function takeQueuePlace(tx: Db, projectId: string, kind: string): Promise<boolean> {
  const result = await tx
    .updateTable('queueCounters')
    .set((eb) => ({ waiting: eb('waiting', '+', 1) }))
    .where('projectId', '=', projectId)
    .where('kind', '=', kind)
    .whereRef('waiting', '<', 'maxWaiting')
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export interface CounterChange {
  teamId: string
  projectId: string
  kind: string
  waiting: number
  running: number
}

type Counted = Pick<CounterChange, 'teamId' | 'projectId' | 'kind'>
const placeOf = ({ teamId, projectId, kind }: Counted): string => `${teamId} ${projectId} ${kind}`

/** Sorts jobs or leases by the order in which counters are locked. */
export const byCounters = (a: Counted, b: Counted): number => (placeOf(a) < placeOf(b) ? -1 : 1)

/** Moves one job between waiting, running and neither. */
export async function moveCounters(tx: Db, change: CounterChange): Promise<void> {
  await tx
    .updateTable('teamShares')
    .set((eb) => ({ waiting: eb('waiting', '+', change.waiting), running: eb('running', '+', change.running) }))
    .where('teamId', '=', change.teamId)
    .execute()
  await moveQueueCounter(tx, change)
}

export async function moveQueueCounter(tx: Db, change: Omit<CounterChange, 'teamId'>): Promise<void> {
  await tx
    .updateTable('queueCounters')
    .set((eb) => ({ waiting: eb('waiting', '+', change.waiting), running: eb('running', '+', change.running) }))
    .where('projectId', '=', change.projectId)
    .where('kind', '=', change.kind)
    .execute()
}
