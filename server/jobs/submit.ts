import type { Job, NewJob } from '@hivesync/contracts/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import { type Batches, createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { isForeignKeyViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { type ProjectAccess, requireProject } from '../projects/projects.ts'
import { countTogether, ensureQueue, ensureShare, findRoom } from './counters.ts'
import { requireInput } from './input.ts'
import { holdBundleOf } from './job-bundle.ts'
import { createEntry, type NewEntry, type Origin, storeJobs } from './new-job.ts'
import { findJobByKey, lockIdempotencyKeys } from './queries.ts'
import { toJob } from './read.ts'
import { hashRequest, isSameRequest } from './request-hash.ts'
import { requireLiveKey } from './rights.ts'

interface Submitted {
  job: Job
  isNew: boolean
}
interface Submission {
  actor: Actor
  projectId: string
  submission: NewJob
  key: string | null
}

const queues = new WeakMap<Context, Batches<Submission, Submitted>>()
/** A bigger transaction keeps others waiting. */
const maxTogether = 64

/**
 * Queues a job, or refuses with `queue_full` and stores nothing. With an idempotency key the same request answers with the
 * same job however often it arrives; another request under that key is refused. Those that arrive at once are stored in one transaction.
 */
export async function submitJob(
  ctx: Context,
  actor: Actor,
  projectId: string,
  submission: NewJob,
  idempotencyKey?: string,
): Promise<Job> {
  requireInput(ctx, submission)
  const key = idempotencyKey === undefined ? null : requireKey(idempotencyKey)
  const queue =
    queues.get(ctx) ?? createBatches<Submission, Submitted>((items) => submitTogether(ctx, items), maxTogether)
  queues.set(ctx, queue)
  const { job, isNew } = await queue.add({ actor, projectId, submission, key })
  if (isNew) ctx.bus.publish('jobs')
  return job
}

/** Places that were free when we looked were taken before our commit: look again. */
class PlacesLost extends Error {}
const maxTries = 5

async function submitTogether(ctx: Context, items: readonly Submission[]): Promise<(Submitted | AppError)[]> {
  for (let tries = 1; ; tries++) {
    try {
      return await ctx.db.transaction((tx) => admit(ctx, tx, items))
    } catch (error) {
      // The project, or who asks, was erased while we stored it.
      if (isForeignKeyViolation(error) && items.length === 1) throw new AppError('project_not_found')
      if (!(error instanceof PlacesLost)) throw error
      if (tries < maxTries) continue
      const [only, ...others] = items
      if (only === undefined || others.length > 0) throw error
      return [queueFull(ctx, only.projectId, only.submission.kind)]
    }
  }
}

async function admit(ctx: Context, tx: Db, items: readonly Submission[]): Promise<(Submitted | AppError)[]> {
  await lockIdempotencyKeys(
    tx,
    items.flatMap(({ projectId, key }) => (key === null ? [] : [{ projectId, key }])),
  )
  const projects = await findProjects(ctx, tx, items)
  const room = createRoom(tx)
  const entries: NewEntry[] = []
  const outcomes: (Submitted | AppError)[] = []
  for (const [index, item] of items.entries()) {
    const project = projects[index]
    if (project === undefined || project instanceof AppError) {
      outcomes.push(project ?? new AppError('project_not_found'))
      continue
    }
    try {
      outcomes.push((await findEarlier(ctx, tx, item, entries)) ?? (await enter(item, project)))
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      outcomes.push(error)
    }
  }
  await storeJobs(ctx, tx, entries)
  if (!(await countWaiting(tx, entries))) throw new PlacesLost()
  return outcomes

  async function enter({ actor, submission, key }: Submission, project: ProjectAccess): Promise<Submitted> {
    if (project.archivedAt !== null) throw new AppError('project_archived', { projectId: project.id })
    await holdBundleOf(ctx, tx, project.id, submission)
    if (!(await room.take(project, submission.kind))) throw queueFull(ctx, project.id, submission.kind)
    const requestHash = key === null ? null : hashRequest(ctx, submission)
    const entry = createEntry(ctx, actor, project, submission, { key, requestHash })
    entries.push(entry)
    return { job: toJob(entry.job), isNew: true }
  }
}

/** The project of each item, or why it may not: asked once for all submissions of one credential. */
async function findProjects(ctx: Context, tx: Db, items: readonly Submission[]): Promise<(ProjectAccess | AppError)[]> {
  const known: { actor: Actor; projectId: string; answer: ProjectAccess | AppError }[] = []
  const answers: (ProjectAccess | AppError)[] = []
  for (const { actor, projectId } of items) {
    const found = known.find((entry) => entry.projectId === projectId && isSameCredential(entry.actor, actor))
    const answer = found?.answer ?? (await findProject(ctx, tx, actor, projectId))
    if (found === undefined) known.push({ actor, projectId, answer })
    answers.push(answer)
  }
  return answers
}

async function findProject(ctx: Context, tx: Db, actor: Actor, projectId: string): Promise<ProjectAccess | AppError> {
  try {
    await requireLiveKey(tx, actor, ctx.clock.now())
    return await requireProject(tx, actor, projectId, 'jobs:write')
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}

function isSameCredential(a: Actor, b: Actor): boolean {
  return (
    a.kind === b.kind &&
    a.id === b.id &&
    a.userId === b.userId &&
    a.sessionId === b.sessionId &&
    a.projectId === b.projectId &&
    a.permissions.size === b.permissions.size &&
    a.permissions.isSubsetOf(b.permissions)
  )
}

/** What an earlier request under the key has stored, or one that travels with this one. */
async function findEarlier(
  ctx: Context,
  tx: Db,
  { projectId, submission, key }: Submission,
  entries: readonly NewEntry[],
): Promise<Submitted | undefined> {
  if (key === null) return undefined
  const isThis = ({ job }: NewEntry): boolean => job.projectId === projectId && job.idempotencyKey === key
  const earlier = entries.find(isThis)?.job ?? (await findJobByKey(tx, projectId, key))
  if (earlier === undefined) return undefined
  if (!isSameRequest(ctx, submission, earlier.requestHash))
    throw new AppError('idempotency_mismatch', { jobId: earlier.id })
  return { job: toJob(earlier), isNew: false }
}

/** Free places as they were committed when we looked; whether they are still free is judged with the last statement, when they are taken. */
function createRoom(tx: Db) {
  const free = new Map<string, number>()
  return {
    async take(project: { id: string; teamId: string }, kind: string): Promise<boolean> {
      const place = `${project.id} ${kind}`
      const left = free.get(place) ?? (await findRoom(tx, project, kind))
      free.set(place, left - 1)
      return left > 0
    },
  }
}

function countWaiting(tx: Db, entries: readonly NewEntry[]): Promise<boolean> {
  return countTogether(
    tx,
    entries.map(({ job: { teamId, projectId, kind } }) => ({ teamId, projectId, kind, waiting: 1, running: 0 })),
  )
}

/**
 * Queues a job in the caller's transaction, who has judged its input (`requireInput`) and the actor's rights, and says `jobs` on the bus after the commit.
 * Last in the transaction: it takes the counters.
 */
export async function submitIn(
  ctx: Context,
  tx: Db,
  actor: Actor,
  project: Pick<ProjectAccess, 'id' | 'teamId' | 'archivedAt'>,
  submission: NewJob,
  origin: Origin = {},
): Promise<{ job: Job; isNew: boolean }> {
  if (project.archivedAt !== null) throw new AppError('project_archived', { projectId: project.id })
  await holdBundleOf(ctx, tx, project.id, submission)
  const entry = createEntry(ctx, actor, project, submission, origin)
  await storeJobs(ctx, tx, [entry])
  if (origin.importedSince === undefined) await takePlace(ctx, tx, project, submission.kind)
  else await addPlace(tx, project, submission.kind)
  return { job: toJob(entry.job), isNew: true }
}

// A full queue drains at the pace of the work; a minute is when a look is worth it again.
const retryAfterSeconds = '60'

function queueFull(ctx: Context, projectId: string, kind: string): AppError {
  ctx.log.warn({ event: 'queue_full', projectId, kind })
  return new AppError(
    'queue_full',
    { projectId },
    { headers: { 'retry-after': retryAfterSeconds }, detail: 'As many jobs are waiting as the plan allows' },
  )
}

/** Takes a waiting place in the project's queue and counts it for the team; `queue_full` undoes the transaction. */
export async function takePlace(
  ctx: Context,
  tx: Db,
  project: { id: string; teamId: string },
  kind: string,
): Promise<void> {
  const change = { teamId: project.teamId, projectId: project.id, kind, waiting: 1, running: 0 }
  // What the look finds free may be taken in the next moment, and what it finds taken may be free: only the last statement says.
  await findRoom(tx, project, kind)
  if (!(await countTogether(tx, [change]))) throw queueFull(ctx, project.id, kind)
}

/** Makes a waiting place beyond the cap, for what another queue had accepted already: new submissions are refused until it has drained. */
async function addPlace(tx: Db, project: { id: string; teamId: string }, kind: string): Promise<void> {
  await ensureShare(tx, project)
  await ensureQueue(tx, project, kind)
  const change = { teamId: project.teamId, projectId: project.id, kind, waiting: 1, running: 0 }
  await countTogether(tx, [{ ...change, isBeyondCap: true }])
}

function requireKey(key: string): string {
  if (/^[\x21-\x7e]{1,200}$/.test(key)) return key
  throw new AppError(
    'invalid_request',
    {},
    { fields: [{ path: 'headers/idempotency-key', message: 'must be 1 to 200 printable ASCII characters' }] },
  )
}
