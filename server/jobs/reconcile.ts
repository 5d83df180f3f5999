import { setImmediate as nextTurn } from 'node:timers/promises'
import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import { run, statement } from '../platform/db/statement.ts'
import { getPlan } from '../tiers/tiers.ts'
import { eachOf } from './reap.ts'

const drifts = new WeakMap<Context, number>()

/** How many counters this process has found to differ from what they count; a metric, which should stay at 0. */
export function counterDrift(ctx: Context): number {
  return drifts.get(ctx) ?? 0
}

/**
 * Compares the counters with the rows they count, and the limits with the team's plan, and repairs what differs, each team in a transaction of its own. Found
 * without a lock, a page of counters at a time; judged under the locks that everybody who moves them takes. A counter that has drifted is an error of ours: it is
 * logged as one, audited and counted.
 */
export async function reconcileCounters(ctx: Context): Promise<number> {
  const db = ctx.db.kysely
  const suspects = new Set([...(await listWrongQueues(db)), ...(await listWrongShares(db))])
  return eachOf(ctx, 'counters_not_reconciled', [...suspects].sort(), (teamId) => reconcileTeam(ctx, teamId))
}

/** Counters compared by one statement: on SQLite it keeps the process from everything else, and a queue of the largest plan has a thousand rows to count. */
const atOnce = 20

interface Place {
  projectId: string
  kind: string
}

interface QueueCount extends Place {
  teamId: string
  waiting: number
  running: number
  maxWaiting: number
  planWaiting: number
  realWaiting: number
  realRunning: number
}

/** Teams of queues that count what is not there, or whose cap is not their plan's. One statement sees one state: jobs that move meanwhile make no difference. */
async function listWrongQueues(db: Db): Promise<string[]> {
  const isRight = (queue: QueueCount): boolean =>
    queue.waiting === queue.realWaiting && queue.running === queue.realRunning && queue.maxWaiting === queue.planWaiting
  return listWrong<QueueCount>((after) => run(db, queuesAfter(after ?? { projectId: '', kind: '' })), isRight)
}

/** Relies on job_queue_place. */
const queuesAfter = (after: Place) => statement`with page as (
    select queue_counters.project_id, kind, waiting, running, max_waiting, team_id, tiers.waiting_jobs as plan_waiting
    from queue_counters join projects on projects.id = queue_counters.project_id join teams on teams.id = projects.team_id
    join tiers on tiers.name = teams.tier
    where (queue_counters.project_id, kind) > (${after.projectId}, ${after.kind})
    order by queue_counters.project_id, kind limit ${atOnce}
  ), held as (select project_id, kind, count(*) as leases from job_leases group by project_id, kind)
  select page.*, coalesce(held.leases, 0) as real_running,
    (select count(*) from job_queue where job_queue.project_id = page.project_id and job_queue.kind = page.kind) as real_waiting
  from page left join held on held.project_id = page.project_id and held.kind = page.kind
  order by page.project_id, page.kind`

interface ShareCount {
  teamId: string
  waiting: number
  running: number
  maxRunning: number
  weight: number
  planRunning: number
  planWeight: number
  allWaiting: number
  allRunning: number
}

/** Teams whose share is not the sum of their queues, or not what their plan gives them. */
async function listWrongShares(db: Db): Promise<string[]> {
  const isRight = (share: ShareCount): boolean =>
    share.waiting === share.allWaiting &&
    share.running === share.allRunning &&
    share.maxRunning === share.planRunning &&
    share.weight === share.planWeight
  return listWrong<ShareCount>((after) => run(db, sharesAfter(after?.teamId ?? '')), isRight)
}

/** Relies on projects_team. */
const sharesAfter = (teamId: string) => statement`select team_id, waiting, running, max_running, team_shares.weight,
    tiers.running_jobs as plan_running, tiers.weight as plan_weight,
    (select coalesce(sum(queue.waiting), 0) from projects join queue_counters queue on queue.project_id = projects.id
      where projects.team_id = team_shares.team_id) as all_waiting,
    (select coalesce(sum(queue.running), 0) from projects join queue_counters queue on queue.project_id = projects.id
      where projects.team_id = team_shares.team_id) as all_running
  from team_shares join teams on teams.id = team_shares.team_id join tiers on tiers.name = teams.tier
  where team_id > ${teamId} order by team_id limit ${atOnce}`

async function listWrong<Row extends { teamId: string }>(
  listAfter: (after: Row | undefined) => Promise<Row[]>,
  isRight: (row: Row) => boolean,
): Promise<string[]> {
  const wrong: string[] = []
  for (let last: Row | undefined; ; ) {
    const page = await listAfter(last)
    for (const row of page) if (!isRight(row)) wrong.push(row.teamId)
    last = page.at(-1)
    if (page.length < atOnce) return wrong
    // SQLite answers in the same turn: others first.
    await nextTurn()
  }
}

async function countBy(tx: Db, table: 'jobQueue' | 'jobLeases', teamId: string): Promise<Map<string, number>> {
  const rows = await tx
    .selectFrom(table)
    .select((eb) => ['projectId', 'kind', eb.fn.countAll<number>().as('count')])
    .where('teamId', '=', teamId)
    .groupBy(['projectId', 'kind'])
    .execute()
  return new Map(rows.map(({ projectId, kind, count }) => [`${projectId} ${kind}`, count]))
}

/**
 * Whoever moves a job of the team changes its share before the commit: under its lock no move can be committed, so that what is counted is what the counters should
 * say. A transaction that waits for the lock has its rows still to itself.
 */
async function reconcileTeam(ctx: Context, teamId: string): Promise<void> {
  const found = await ctx.db.transaction(async (tx) => {
    const share = await forUpdate(
      tx,
      tx.selectFrom('teamShares').selectAll().where('teamId', '=', teamId),
    ).executeTakeFirst()
    if (share === undefined) return []
    const plan = await getPlan(tx, teamId)
    const waiting = await countBy(tx, 'jobQueue', teamId)
    const running = await countBy(tx, 'jobLeases', teamId)
    const projectIds = tx.selectFrom('projects').select('id').where('teamId', '=', teamId)
    const queues = await tx
      .selectFrom('queueCounters')
      .selectAll()
      .where('projectId', 'in', projectIds)
      .orderBy('projectId')
      .orderBy('kind')
      .execute()
    await tx
      .updateTable('queueCounters')
      .set({ maxWaiting: plan.waitingJobs })
      .where('projectId', 'in', projectIds)
      .where('maxWaiting', '<>', plan.waitingJobs)
      .execute()
    const drifted: { queue: string; counted: string; real: string }[] = []
    const total = { waiting: 0, running: 0 }
    for (const queue of queues) {
      const place = `${queue.projectId} ${queue.kind}`
      const real = { waiting: waiting.get(place) ?? 0, running: running.get(place) ?? 0 }
      total.waiting += real.waiting
      total.running += real.running
      if (real.waiting === queue.waiting && real.running === queue.running) continue
      drifted.push({ queue: place, counted: figures(queue), real: figures(real) })
      await tx
        .updateTable('queueCounters')
        .set(real)
        .where('projectId', '=', queue.projectId)
        .where('kind', '=', queue.kind)
        .execute()
    }
    if (total.waiting !== share.waiting || total.running !== share.running)
      drifted.push({ queue: `team ${teamId}`, counted: figures(share), real: figures(total) })
    await tx
      .updateTable('teamShares')
      .set({ ...total, maxRunning: plan.runningJobs, weight: plan.weight })
      .where('teamId', '=', teamId)
      .execute()
    if (drifted.length > 0)
      await recordAudit(ctx, tx, system, {
        action: 'counters.repaired',
        target: { kind: 'team', id: teamId },
        teamId,
        details: { counters: drifted.length },
      })
    return drifted
  })
  if (found.length === 0) return
  drifts.set(ctx, counterDrift(ctx) + found.length)
  for (const drift of found)
    ctx.log.error({
      event: 'counter_drift',
      name: drift.queue,
      reason: `counted ${drift.counted}; there are ${drift.real}`,
    })
  // A queue that looked full or busy may have room.
  ctx.bus.publish('jobs')
}

const figures = ({ waiting, running }: { waiting: number; running: number }): string =>
  `${waiting} waiting, ${running} running`
