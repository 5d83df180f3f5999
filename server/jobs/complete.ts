import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import { type completeLease as contract, maxCompletionBytes } from '@hivesync/contracts/worker-protocol.ts'
import { commitArtifacts } from '../artifacts/artifacts.ts'
import { publishMirror } from '../mirrors/mirrors.ts'
import { type Actor, system } from '../platform/actor.ts'
import { type Batches, createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { dropIndex, prepareIndex } from '../search/search.ts'
import { type CountedChange, type CounterChange, countTogether } from './counters.ts'
import { auditRefusedEgress } from './egress-audit.ts'
import { closeLease, finishJob, requeueJob, verdictOn } from './end.ts'
import { requireIngestResult } from './ingest-result.ts'
import { beginAttempt, findLease, readToken } from './lease.ts'
import { type JobRow, type LeaseRow, lockJob } from './queries.ts'
import { isFinal } from './read.ts'
import { requireReceipt } from './receipt.ts'
import { isRightless } from './rights.ts'
import { endRightless, tellOf } from './rights-lost.ts'

export type Completion = BodyOf<typeof contract>
interface Outcome {
  jobId: string
  state: string
}

/** A completion that has been judged, on its way into the transaction that accepts it. */
interface Item {
  actor: Actor
  token: string
  completion: Completion & { isVerified: boolean }
  hash: string
  index: Prepared | undefined
}
interface Ended {
  /** Undefined where the rights of the job had ended: it ended with them. */
  outcome: Outcome | undefined
  replaced: number | null
  ended: string[]
}

const queues = new WeakMap<Context, Batches<Item, Ended>>()
/** A bigger transaction keeps others waiting. */
const maxTogether = 64

/**
 * Ends an attempt. Exactly one completion of a job is ever accepted: it must hold the lease at its commit. The same completion sent again gets the
 * same answer (a lost reply costs nothing); any other is `lease_lost` and changes nothing. So is that of a job whose rights have ended: it ends here. Those that
 * arrive at once share a transaction; one that fails in it is tried again alone.
 */
export async function completeLease(
  ctx: Context,
  actor: Actor,
  token: string,
  completion: Completion,
): Promise<Outcome> {
  const hash = hashCompletion(completion)
  const isVerified = await requireReceipt(ctx, actor, token, completion.receipt)
  const index = await prepare(ctx, actor, token, completion)
  const queue = queues.get(ctx) ?? createBatches<Item, Ended>((items) => completeTogether(ctx, items), maxTogether)
  queues.set(ctx, queue)
  const { outcome, replaced, ended } = await queue.add({
    ...{ actor, token, hash, index },
    completion: { ...completion, isVerified },
  })
  if (outcome === undefined) {
    tellOf(ctx, ended)
    throw new AppError('lease_lost', { token })
  }
  ctx.bus.publish(`job:${outcome.jobId}`)
  ctx.bus.publish('jobs')
  // An index prepared for a lease that was lost meanwhile is not dropped here, for its twin may have published it: the sweep knows.
  if (index !== undefined) await discard(ctx, index.projectId, replaced)
  return outcome
}

/** Without the receipt's signature: sent again after the worker's key was replaced, the same completion carries another. */
function hashCompletion({ receipt, ...rest }: Completion): string {
  if (receipt === undefined) return sha256Hex(JSON.stringify(rest))
  const { signature: _, ...measured } = receipt
  return sha256Hex(JSON.stringify({ ...rest, receipt: measured }))
}

/** Ends each of the attempts as `completeLease` would, whatever becomes of the others. */
export async function completeLeases(
  ctx: Context,
  actor: Actor,
  completions: readonly (Completion & { token: number })[],
) {
  const answers = completions.map(async ({ token, ...completion }) => {
    try {
      if (Buffer.byteLength(JSON.stringify(completion)) > maxCompletionBytes) throw new AppError('payload_too_large')
      return { token, ...(await completeLease(ctx, actor, String(token), completion)) }
    } catch (error) {
      if (error instanceof AppError) return { token, code: error.code }
      ctx.log.error({ event: 'lease_not_completed', token }, error)
      return { token, code: 'internal' }
    }
  })
  return { completions: await Promise.all(answers) }
}

class EndsAlone extends Error {}

/** Counters come last: until then nobody who counts the same team waits for this transaction. */
function completeTogether(ctx: Context, items: readonly Item[]): Promise<(Ended | AppError)[]> {
  return ctx.db.transaction(async (tx) => {
    const changes: CountedChange[] = []
    const outcomes = new Map<Item, Ended | AppError>()
    // In the order in which everybody locks leases.
    for (const item of [...items].sort((a, b) => Number(a.token) - Number(b.token))) {
      const found = await find(ctx, tx, item)
      if (found instanceof AppError) outcomes.set(item, found)
      else if ('accepted' in found) outcomes.set(item, { outcome: found.accepted, replaced: null, ended: [] })
      else if (!found.isRightless) outcomes.set(item, await accept(ctx, tx, item, found, changes))
      // It takes counters, which come last for all that travel together: each is tried again alone.
      else if (items.length > 1) throw new EndsAlone()
      else {
        const ended = await endRightless(ctx, tx, system, [found.job.id])
        outcomes.set(item, { outcome: undefined, replaced: null, ended })
      }
    }
    await countTogether(tx, changes)
    return items.map((item) => outcomes.get(item) ?? new AppError('lease_lost'))
  })
}

type Found = { accepted: Outcome } | { lease: LeaseRow; job: JobRow; isRightless: boolean } | AppError

/** The lease and its job, locked, or the answer that was given before; a refusal where there is neither. Changes nothing. */
async function find(ctx: Context, tx: Db, { actor, token, hash, index }: Item): Promise<Found> {
  try {
    const lease = await findLease(ctx, tx, actor, token)
    // Looked for only now: the same completion, sent twice at once, waited here for the lease that its twin has ended.
    if (lease === undefined) return { accepted: await requireAccepted(tx, actor, token, hash) }
    const job = await lockJob(tx, lease.jobId)
    if (job === undefined) throw new Error('a lease without a job')
    // Every act that ends rights ends the lease with them. Only a key loses its rights with time, and what is published must be right at this very commit.
    const isToBeProved = job.submittedByKey !== null || index !== undefined
    return { lease, job, isRightless: isToBeProved && (await isRightless(tx, job.id, ctx.clock.now())) }
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}

async function accept(
  ctx: Context,
  tx: Db,
  { actor, completion, hash, index }: Item,
  { lease, job }: { lease: LeaseRow; job: JobRow },
  changes: CountedChange[],
): Promise<Ended> {
  const count = async (change: CounterChange): Promise<void> => {
    changes.push({ ...change, isBeyondCap: true })
  }
  const outcome = await end(ctx, tx, actor, job, lease, completion, hash, count)
  // What is given back unfinished has no results.
  if (completion.outcome !== 'returned') await commitArtifacts(ctx, tx, lease)
  const replaced = index === undefined ? null : await publish(ctx, tx, actor, lease, index)
  return { outcome, replaced, ended: [] }
}

/** The answer to a completion that was accepted before (same worker, same token, same content); to any other `lease_lost`. */
async function requireAccepted(tx: Db, actor: Actor, token: string, hash: string): Promise<Outcome> {
  const job = await tx
    .selectFrom('jobs')
    .innerJoin('jobAttempts', 'jobAttempts.jobId', 'jobs.id')
    .select(['jobs.id', 'jobs.state'])
    .where('jobAttempts.token', '=', readToken(token))
    .where('jobAttempts.workerId', '=', actor.id ?? '')
    .whereRef('jobs.completedToken', '=', 'jobAttempts.token')
    .where('jobs.completionHash', '=', hash)
    .executeTakeFirst()
  if (job === undefined) throw new AppError('lease_lost', { token })
  // A job that this completion did not end was queued by it, wherever its next attempt has got to since.
  return { jobId: job.id, state: isFinal(job.state) ? job.state : 'queued' }
}

async function end(
  ctx: Context,
  tx: Db,
  actor: Actor,
  job: JobRow,
  lease: LeaseRow,
  completion: Completion & { isVerified: boolean },
  hash: string,
  count: (change: CounterChange) => Promise<void>,
): Promise<Outcome> {
  const { outcome, error, receipt, isVerified, egressRefused = [] } = completion
  const accepted = { token: lease.token, hash }
  const close = async (waiting: 0 | 1): Promise<void> => {
    if (!(await closeLease(ctx, tx, lease, { outcome, error, receipt, isVerified }, waiting, count)))
      throw new AppError('lease_lost', { token: lease.token })
    if (egressRefused.length > 0) await auditRefusedEgress(ctx, tx, actor, lease, egressRefused)
  }
  const isWork = outcome === 'succeeded' || outcome === 'failed'
  // Whoever reports of work has begun it: unstarted attempts cost nothing, and one that fails at no cost would be tried for ever.
  const tried = isWork && lease.phase === 'dispatched' ? await beginAttempt(tx, lease, ctx.clock.now()) : job
  if (outcome === 'succeeded') {
    await close(0)
    await finishJob(ctx, tx, actor, tried, {
      state: 'succeeded',
      result: completion.result ?? {},
      completion: accepted,
    })
    return { jobId: job.id, state: 'succeeded' }
  }
  // Asked to stop, it may still have failed first or been given back: what was asked for decides.
  if (outcome === 'canceled' || job.cancelRequestedAt !== null) {
    await close(0)
    await finishJob(ctx, tx, actor, job, { state: 'canceled', completion: accepted })
    return { jobId: job.id, state: 'canceled' }
  }
  if (outcome === 'returned') {
    await close(1)
    // A worker that drains gives the job back: no failure, no attempt spent.
    const uncountedAttempts = job.uncountedAttempts + (lease.phase === 'started' ? 1 : 0)
    await requeueJob(ctx, tx, job, 'returned', 0, { uncountedAttempts, completion: accepted })
    return { jobId: job.id, state: 'queued' }
  }
  const verdict = verdictOn(tried, { infrastructure: completion.infrastructure === true }, ctx.random.fraction())
  await close(verdict.retry ? 1 : 0)
  if (verdict.retry) {
    await requeueJob(ctx, tx, job, error?.code ?? 'failed', verdict.delayMs, {
      infrastructureFailures: verdict.infrastructureFailures,
      completion: accepted,
    })
    return { jobId: job.id, state: 'queued' }
  }
  await finishJob(ctx, tx, actor, job, {
    state: 'failed',
    result: completion.result,
    error: error ?? { code: 'failed', message: 'The worker gave no reason' },
    completion: accepted,
  })
  return { jobId: job.id, state: 'failed' }
}

interface Prepared {
  projectId: string
  repository: string
  commit: string
  branch: string | null
  files: number
  bytes: number
}

/** Brings the uploaded index onto the disk before the transaction that will publish it; only for a successful ingest that still holds its lease. */
async function prepare(
  ctx: Context,
  actor: Actor,
  token: string,
  completion: Completion,
): Promise<Prepared | undefined> {
  const lease = await ctx.db.kysely
    .selectFrom('jobLeases')
    .innerJoin('jobs', 'jobs.id', 'jobLeases.jobId')
    .select(['jobLeases.projectId', 'jobLeases.kind', 'jobs.input'])
    .where('jobLeases.token', '=', readToken(token))
    .where('jobLeases.workerId', '=', actor.id ?? '')
    .executeTakeFirst()
  if (lease === undefined || lease.kind !== 'ingest' || completion.outcome !== 'succeeded') return undefined
  const result = requireIngestResult(completion.result)
  // Counted by us: what is served is what arrived, whatever the worker believes it sent.
  const { files, bytes } = await prepareIndex(ctx, { projectId: lease.projectId, token: Number(token) })
  const { commit, branch } = result
  return { projectId: lease.projectId, repository: JSON.parse(lease.input).repository, commit, branch, files, bytes }
}

function publish(ctx: Context, tx: Db, actor: Actor, lease: LeaseRow, index: Prepared): Promise<number | null> {
  return publishMirror(ctx, tx, actor, { ...index, token: lease.token })
}

// What is no longer served is deleted after the commit; if the process dies here, the sweep finds it.
async function discard(ctx: Context, projectId: string, token: number | null): Promise<void> {
  if (token === null) return
  try {
    await dropIndex(ctx, projectId, token)
  } catch (error) {
    ctx.log.error({ event: 'index_not_dropped', projectId, token }, error)
  }
}
