import type { TierLimits } from '@hivesync/contracts/tiers.ts'
import type { SelectQueryBuilder } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { dialectOf, forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { rows, run, type Statement, statement, text } from '../platform/db/statement.ts'
import { holdPlan } from '../tiers/tiers.ts'

// Lock order everywhere: a job's own rows (queue or lease, job, attempt), then counters: each team's share before its queues, in the order of `byCounters`.
// Counters are shared by all jobs of a team, so they come last in a transaction, followed by nothing but inserts: whoever waits for one waits for a commit.

interface QueueOf {
  id: string
  teamId: string
}

/** Makes the row of a team's share; nothing where it exists. */
export async function ensureShare(tx: Db, { teamId }: QueueOf): Promise<void> {
  const { runningJobs, weight } = await holdPlan(tx, teamId)
  await tx
    .insertInto('teamShares')
    .values({ teamId, maxRunning: runningJobs, weight })
    .onConflict((conflict) => conflict.column('teamId').doNothing())
    .execute()
}

/** Makes the row that counts a project's queue; nothing where it exists. */
export async function ensureQueue(tx: Db, { id, teamId }: QueueOf, kind: string): Promise<void> {
  const { waitingJobs } = await holdPlan(tx, teamId)
  await tx
    .insertInto('queueCounters')
    .values({ projectId: id, kind, maxWaiting: waitingJobs })
    .onConflict((conflict) => conflict.columns(['projectId', 'kind']).doNothing())
    .execute()
}

/** Brings the caps and weights of teams to what their plan allows. Last in the transaction, in the order of `byCounters`. */
export async function applyPlan(tx: Db, teams: TeamIds, plan: TierLimits): Promise<void> {
  const shares = tx.selectFrom('teamShares').select('teamId').where('teamId', 'in', teams).orderBy('teamId')
  await forUpdate(tx, shares).execute()
  await tx
    .updateTable('teamShares')
    .set({ maxRunning: plan.runningJobs, weight: plan.weight })
    .where('teamId', 'in', teams)
    .execute()
  await tx
    .updateTable('queueCounters')
    .set({ maxWaiting: plan.waitingJobs })
    .where('projectId', 'in', tx.selectFrom('projects').select('id').where('teamId', 'in', teams))
    .execute()
}
type TeamIds = SelectQueryBuilder<Schema, 'teams', { id: string }>

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
  await countTogether(tx, [{ ...change, isBeyondCap: true }])
}

/** How many more jobs may wait in the queue, as it was committed last; makes the rows that count them where there are none. */
export async function findRoom(tx: Db, project: QueueOf, kind: string): Promise<number> {
  const find = () =>
    run<{ room: number | null; hasShare: number }>(
      tx,
      statement`select (select max_waiting - waiting from queue_counters where project_id = ${project.id} and kind = ${kind}) as room,
        (select count(*) from team_shares where team_id = ${project.teamId}) as has_share`,
    )
  const [found] = await find()
  if (found !== undefined && found.room !== null && found.hasShare === 1) return found.room
  await ensureShare(tx, project)
  await ensureQueue(tx, project, kind)
  const [made] = await find()
  return made?.room ?? 0
}

export interface CountedChange extends CounterChange {
  /** What a place in the team's turn costs (stride scheduling). */
  pass?: number
  /** It had its place already, or is given one whatever the cap says. */
  isBeyondCap?: boolean
}

const shareColumns = { ofTeam: 'text', addWaiting: 'bigint', addRunning: 'bigint', addPass: 'bigint' } as const
const queueColumns = {
  ofProject: 'text',
  ofKind: 'text',
  addWaiting: 'bigint',
  addRunning: 'bigint',
  isBeyond: 'bigint',
} as const

/**
 * Moves many jobs between waiting, running and neither: every cap is checked in the statement that takes its places (property 16). False where one would be passed,
 * or a queue was paused meanwhile; then the caller undoes the transaction.
 *
 * A team that asked for nothing joins at the smallest pass of those it competes with, and when nobody is ready at the largest pass given out: it must not spend
 * credit saved up meanwhile, nor leave others to work off theirs (stride scheduling, Waldspurger 1995, "dynamic client participation"; at the end of a busy period
 * start-time fair queueing, Goyal 1996).
 */
export async function countTogether(tx: Db, changes: readonly CountedChange[]): Promise<boolean> {
  if (changes.length === 0) return true
  const shares = new Map<string, { ofTeam: string; addWaiting: number; addRunning: number; addPass: number }>()
  const queues = new Map<
    string,
    { ofProject: string; ofKind: string; addWaiting: number; addRunning: number; isBeyond: number }
  >()
  for (const { teamId, projectId, kind, waiting, running, pass = 0, isBeyondCap = false } of changes) {
    const share = shares.get(teamId) ?? { ofTeam: teamId, addWaiting: 0, addRunning: 0, addPass: 0 }
    share.addWaiting += waiting
    share.addRunning += running
    share.addPass += pass
    shares.set(teamId, share)
    const key = `${projectId} ${kind}`
    const queue = queues.get(key) ?? { ofProject: projectId, ofKind: kind, addWaiting: 0, addRunning: 0, isBeyond: 1 }
    queue.addWaiting += waiting
    queue.addRunning += running
    if (!isBeyondCap) queue.isBeyond = 0
    queues.set(key, queue)
  }
  await lockShares(tx, [...shares.keys()])
  const smallest = `coalesce((select min(ready.pass) from team_shares ready where ready.waiting > 0 and ready.running < ready.max_running),
    (select max(served.pass) from team_shares served), 0)`
  const greatest = text((dialect) => (dialect === 'postgres' ? 'greatest' : 'max'))
  const moveShares = statement`update team_shares set waiting = waiting + add_waiting, running = running + add_running,
      pass = case when add_waiting > 0 and add_running = 0 and waiting = 0 then ${greatest}(pass, ${text(smallest)}) else pass + add_pass end
      from ${rows(shareColumns, [...shares.values()])}
      where team_id = of_team and (add_running <= 0 or running + add_running <= max_running) returning team_id`
  const moveQueues = (from: Statement, condition: Statement) =>
    statement`update queue_counters set waiting = waiting + add_waiting, running = running + add_running
      from ${rows(queueColumns, [...queues.values()])} ${from}
      where project_id = of_project and kind = of_kind
        and (add_waiting <= 0 or is_beyond = 1 or waiting + add_waiting <= max_waiting)
        and (add_running <= 0 or (paused_at is null and (max_running is null or running + add_running <= max_running))) ${condition}
      returning project_id`
  if (dialectOf(tx) === 'postgres') {
    // One round trip. No queue is touched before all shares are held: each of its rows is joined with how many those are.
    const counted = await run(
      tx,
      statement`with moved as (${moveShares}) ${moveQueues(
        statement`cross join (select count(*) as shares from moved) as taken`,
        statement`and shares = ${shares.size}`,
      )}`,
    )
    return counted.length === queues.size
  }
  if ((await run(tx, moveShares)).length !== shares.size) return false
  return (await run(tx, moveQueues(statement``, statement``))).length === queues.size
}

/** One statement locks rows in whatever order it meets them. Their queues need no such care: whoever holds one holds its team's share. */
async function lockShares(tx: Db, teamIds: readonly string[]): Promise<void> {
  if (teamIds.length < 2 || dialectOf(tx) === 'sqlite') return
  await run(
    tx,
    statement`select team_id from team_shares join ${rows(
      { ofTeam: 'text' },
      teamIds.map((ofTeam) => ({ ofTeam })),
    )} on team_id = of_team
      order by team_id for update of team_shares`,
  )
}
