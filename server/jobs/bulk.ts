import type {
  CancelFilter,
  cancelJobs as cancelContract,
  RetryFilter,
  retryJobs as retryContract,
} from '@hivesync/contracts/bulk.ts'
import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import { sql } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { cancelJob, retryJob, StateChanged } from './cancel.ts'
import { requireJobsOf } from './read.ts'

const defaultLimit = 100
/** Jobs looked up at once; each is then acted on in a transaction of its own, as by hand: none is long, and what is done stays done. */
const batchSize = 50
const maxCounted = 10_000

interface Refusal {
  jobId: string
  code: string
}

/**
 * Queues a project's ended jobs again, oldest first, each as `retryJob` does. A queue that is full ends it for the jobs of its kind: the first one refused is
 * told. Sent again it goes on with what is left; jobs that ended anew meanwhile are among them unless the filter says `finishedBefore`.
 */
export async function retryJobs(
  ctx: Context,
  actor: Actor,
  projectId: string,
  { filter, limit = defaultLimit }: { filter: RetryFilter; limit?: number },
): Promise<ReplyOf<typeof retryContract>> {
  const project = await requireJobsOf(ctx.db.kysely, actor, projectId, 'jobs:write')
  if (project.archivedAt !== null) throw new AppError('project_archived', { projectId })
  const states = [filter.state ?? 'failed']
  const select = (db: Db) => selectRetryable(db, projectId, states, filter)
  const full = new Set<string>()
  let retried = 0
  const refused: Refusal[] = []
  for await (const { id, kind } of eachMatch(ctx, select, limit)) {
    if (full.has(kind)) continue
    const code = await refusalOf(() => retryJob(ctx, actor, id, states))
    if (code === undefined) retried++
    else if (code !== 'state_changed') refused.push({ jobId: id, code })
    if (code === 'queue_full') full.add(kind)
  }
  return { retried, refused, remaining: await countUpTo(ctx, select) }
}

/** Cancels a project's jobs that have not ended, oldest first, each as `cancelJob` does. Those that were asked to stop before are passed over. */
export async function cancelJobs(
  ctx: Context,
  actor: Actor,
  projectId: string,
  { filter, limit = defaultLimit }: { filter: CancelFilter; limit?: number },
): Promise<ReplyOf<typeof cancelContract>> {
  await requireJobsOf(ctx.db.kysely, actor, projectId, 'jobs:write')
  const states = filter.state === undefined ? ['queued', 'leased', 'running'] : [filter.state]
  const select = (db: Db) => selectCancelable(db, projectId, states, filter)
  const counts = { canceled: 0, asked: 0 }
  const refused: Refusal[] = []
  for await (const { id } of eachMatch(ctx, select, limit)) {
    const code = await refusalOf(async () => {
      const job = await cancelJob(ctx, actor, id, states)
      counts[job.state === 'canceled' ? 'canceled' : 'asked']++
    })
    if (code !== undefined && code !== 'state_changed') refused.push({ jobId: id, code })
  }
  return { ...counts, refused, remaining: await countUpTo(ctx, select) }
}

/** The code with which the act was refused, or that the job has left the states of the filter between the two looks; failures of ours are thrown. */
async function refusalOf(act: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await act()
    return undefined
  } catch (error) {
    if (error instanceof StateChanged) return 'state_changed'
    if (error instanceof AppError && error.status < 500) return error.code
    throw error
  }
}

type Select = (db: Db) => ReturnType<typeof selectJobs>

/** At most `limit` matches, oldest first, a batch at a time, so that each is looked up shortly before it is acted on. */
async function* eachMatch(ctx: Context, select: Select, limit: number) {
  for (let after = '', seen = 0; seen < limit; ) {
    const size = Math.min(batchSize, limit - seen)
    const rows = await select(ctx.db.kysely).where('id', '>', after).orderBy('id').limit(size).execute()
    yield* rows
    seen += rows.length
    after = rows.at(-1)?.id ?? ''
    if (rows.length < size) return
  }
}

async function countUpTo(ctx: Context, select: Select): Promise<number> {
  const { count } = await ctx.db.kysely
    .selectFrom(select(ctx.db.kysely).limit(maxCounted).as('matches'))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return count
}

/** Relies on jobs_state, as everything here names the states. */
function selectJobs(db: Db, projectId: string, states: readonly string[], kind: string | undefined) {
  const rows = db
    .selectFrom('jobs')
    .select(['id', 'kind'])
    .where('projectId', '=', projectId)
    .where('state', 'in', states as readonly never[])
  return kind === undefined ? rows : rows.where('kind', '=', kind)
}

function selectRetryable(db: Db, projectId: string, states: readonly string[], filter: RetryFilter) {
  let rows = selectJobs(db, projectId, states, filter.kind)
  // The error is JSON of our own writing: inside a text a quote is escaped, so this is found in its place only.
  if (filter.errorCode !== undefined) rows = rows.where(contains('error', `"code":${JSON.stringify(filter.errorCode)}`))
  if (filter.finishedAfter !== undefined)
    rows = rows.where('finishedAt', '>', timeOf(filter.finishedAfter, 'finishedAfter'))
  if (filter.finishedBefore !== undefined)
    rows = rows.where('finishedAt', '<', timeOf(filter.finishedBefore, 'finishedBefore'))
  return rows
}

function selectCancelable(db: Db, projectId: string, states: readonly string[], filter: CancelFilter) {
  let rows = selectJobs(db, projectId, states, filter.kind).where('cancelRequestedAt', 'is', null)
  if (filter.submittedBefore !== undefined)
    rows = rows.where('submittedAt', '<', timeOf(filter.submittedBefore, 'submittedBefore'))
  for (const label of filter.labels ?? []) rows = rows.where(contains('labels', JSON.stringify(label)))
  return rows
}

function contains(column: string, text: string) {
  const pattern = `%${text.replace(/[\\%_]/g, (character) => `\\${character}`)}%`
  return sql<boolean>`${sql.ref(column)} like ${pattern} escape '\\'`
}

function timeOf(text: string, name: string): number {
  const ms = Date.parse(text)
  if (!Number.isNaN(ms)) return ms
  throw new AppError('invalid_request', {}, { fields: [{ path: `body/filter/${name}`, message: 'is no time' }] })
}
