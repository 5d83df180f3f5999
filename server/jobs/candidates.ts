import type { Db } from '../platform/db/db.ts'
import { forUpdateSkipLocked, isOneOf } from '../platform/db/dialect.ts'
import { run, statement } from '../platform/db/statement.ts'
import type { Candidate } from './claim-queries.ts'

interface Wanted {
  pool: string
  kinds: readonly string[]
  /** Label sets that may be taken, as they are stored. */
  labels: readonly string[]
  now: number
  limit: number
}

/** A team's best waiting jobs that may run now, best first, locked. */
export function listTeamCandidates(
  tx: Db,
  team: { teamId: string; isLimited: number },
  wanted: Wanted,
): Promise<Candidate[]> {
  return team.isLimited === 1 ? listOfOpenQueues(tx, team.teamId, wanted) : listCandidates(tx, team.teamId, wanted)
}

/**
 * The same where some of the team's queues are paused or limited: queue by queue, so that a thousand jobs which may not run are not read to get past them, and
 * from each at most what it has room for. Relies on job_queue_place.
 */
async function listOfOpenQueues(tx: Db, teamId: string, wanted: Wanted): Promise<Candidate[]> {
  const queues = await tx
    .selectFrom('queueCounters')
    .innerJoin('projects', 'projects.id', 'queueCounters.projectId')
    .select(['queueCounters.projectId', 'queueCounters.kind', 'queueCounters.running', 'queueCounters.maxRunning'])
    .where('projects.teamId', '=', teamId)
    .where('queueCounters.waiting', '>', 0)
    .where('queueCounters.kind', 'in', wanted.kinds)
    .where('queueCounters.pausedAt', 'is', null)
    .where('queueCounters.kind', 'not in', tx.selectFrom('queuePauses').select('queuePauses.kind'))
    .where((eb) =>
      eb.or([
        eb('queueCounters.maxRunning', 'is', null),
        eb('queueCounters.running', '<', eb.ref('queueCounters.maxRunning')),
      ]),
    )
    .orderBy('queueCounters.projectId')
    .orderBy('queueCounters.kind')
    .execute()
  const candidates: Candidate[] = []
  for (const { projectId, kind, running, maxRunning } of queues) {
    const room = maxRunning === null ? wanted.limit : maxRunning - running
    const limit = Math.min(wanted.limit, room)
    candidates.push(...(await listCandidates(tx, teamId, { ...wanted, kinds: [kind], limit }, projectId)))
  }
  return candidates.sort(byRank).slice(0, wanted.limit)
}

const byRank = (a: Candidate, b: Candidate): number => a.rank - b.rank || (a.jobId < b.jobId ? -1 : 1)

/** Relies on job_queue_order, or with a project on job_queue_place. */
function listCandidates(tx: Db, teamId: string, wanted: Wanted, projectId?: string): Promise<Candidate[]> {
  const { pool, kinds, labels, now, limit } = wanted
  // Anyone who submits can wait with label sets of their own making: many must not fail everybody's claim.
  const isFew = labels.length <= 100
  let candidates = tx
    .selectFrom('jobQueue')
    .select(['jobId', 'projectId', 'teamId', 'kind', 'pool', 'rank'])
    .where('pool', '=', pool)
    .where('kind', 'in', kinds)
    .where((eb) => (isFew ? eb('labels', 'in', labels) : isOneOf(tx, 'labels', labels)))
    .where('runAt', '<=', now)
    .where('expiresAt', '>', now)
    .orderBy('rank')
    .orderBy('jobId')
    .limit(limit)
  candidates =
    projectId === undefined
      ? candidates.where('teamId', '=', teamId)
      : candidates.where('projectId', '=', projectId).where('teamId', '=', teamId)
  return forUpdateSkipLocked(tx, candidates).execute()
}

/** The label sets that jobs wait with and a worker of these labels satisfies. */
export async function placeableLabels(tx: Db, labels: readonly string[]): Promise<string[]> {
  if (labels.length === 0) return ['[]']
  const carried = new Set(labels)
  const waiting = await listWaitingLabels(tx)
  return ['[]', ...waiting.filter((text) => isCarried(text, carried))]
}

function isCarried(text: string, carried: ReadonlySet<string>): boolean {
  try {
    const wanted: unknown = JSON.parse(text)
    return Array.isArray(wanted) && wanted.every((label) => carried.has(label))
  } catch {
    // One row that cannot be read must not stop everybody's claims; it waits until its time to live is over.
    return false
  }
}

/** Each set once, by steps from one to the next in job_queue_labels: `distinct` would read an entry for every job that waits. */
async function listWaitingLabels(tx: Db): Promise<string[]> {
  const found = await run<{ labels: string | null }>(
    tx,
    statement`with recursive sets (labels) as (
        select (select min(labels) from job_queue where labels <> '[]')
        union all
        select (select min(job_queue.labels) from job_queue where job_queue.labels <> '[]' and job_queue.labels > sets.labels)
        from sets where sets.labels is not null
      ) select labels from sets where labels is not null`,
  )
  return found.flatMap(({ labels }) => labels ?? [])
}
