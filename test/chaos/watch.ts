import { setTimeout as delay } from 'node:timers/promises'
import type { Row, Rows } from './rows.ts'

/** What is watched while the faults strike. */
export interface Watch {
  /** How often a look was answered; the rest met a database that was down. */
  readonly looks: number
  readonly violations: readonly string[]
  stop(): Promise<void>
}

const everyMs = 100
const maxViolations = 20

// One statement is one snapshot on both databases: at no moment that anyone can see may a counter differ from what it counts.
const sharesSql = `select team_id as id, waiting, running, max_running,
  (select count(*) from job_queue where job_queue.team_id = team_shares.team_id) as queued,
  (select count(*) from job_leases where job_leases.team_id = team_shares.team_id) as leased from team_shares`
// What runs goes back without a place of its own (requirement C2 caps submissions): at most all that ran together stand above the cap.
const queuesSql = `select project_id || ' ' || kind as id, waiting, running, max_waiting,
  (select count(*) from job_queue where job_queue.project_id = queue_counters.project_id and job_queue.kind = queue_counters.kind) as queued,
  (select count(*) from job_leases where job_leases.project_id = queue_counters.project_id and job_leases.kind = queue_counters.kind) as leased,
  (select max_running from team_shares join projects on projects.team_id = team_shares.team_id where projects.id = queue_counters.project_id) as max_running
  from queue_counters`

/** Looks at counters, caps and limits every 100 ms until stopped. */
export function watchCounters(rows: Rows): Watch {
  let isOver = false
  let looks = 0
  const violations: string[] = []
  const watching = (async () => {
    while (!isOver) {
      try {
        const found = await findDrift(rows)
        looks++
        if (violations.length < maxViolations) violations.push(...found)
      } catch {
        // The database is down or its disk full: the faults' doing, and told by the number of looks.
      }
      await delay(everyMs)
    }
  })()
  return {
    get looks() {
      return looks
    },
    violations,
    async stop() {
      isOver = true
      await watching
    },
  }
}

/** Every counter that differs from its rows, and every limit that is exceeded, at one moment. */
export async function findDrift(rows: Rows): Promise<string[]> {
  const shares = await rows.read(sharesSql)
  const queues = await rows.read(queuesSql)
  const exceeded = [
    ...shares
      .filter((row) => Number(row.leased) > Number(row.max_running))
      .map((row) => `team ${row.id} runs ${row.leased} of ${row.max_running}`),
    ...queues
      .filter((row) => Number(row.queued) > Number(row.max_waiting) + Number(row.max_running))
      .map((row) => `queue ${row.id} holds ${row.queued} of ${row.max_waiting}`),
  ]
  return [
    ...shares.filter(isAdrift).map((row) => told('team', row)),
    ...queues.filter(isAdrift).map((row) => told('queue', row)),
    ...exceeded,
  ]
}

const isAdrift = (row: Row): boolean =>
  Number(row.waiting) !== Number(row.queued) || Number(row.running) !== Number(row.leased)
const told = (what: string, row: Row): string =>
  `${what} ${row.id} counts ${row.waiting} waiting and ${row.running} running, but there are ${row.queued} and ${row.leased}`
