import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import { type completeLease as contract, maxCompletionBytes } from '@hivesync/contracts/worker-protocol.ts'
import { commitArtifacts } from '../artifacts/artifacts.ts'
import { publishMirror } from '../mirrors/mirrors.ts'
import { type Actor, system } from '../platform/actor.ts'
import { type Batches, createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { runTogether } from '../platform/db/statement.ts'
import { AppError } from '../platform/errors.ts'
import { dropIndex, prepareIndex } from '../search/search.ts'
import { auditRefusedEgress } from './egress-audit.ts'
import { countEnds, type Ends, type Final, verdictOn, writeEnds } from './end.ts'
import { requireIngestResult } from './ingest-result.ts'
import { beginStatements, readToken } from './lease.ts'
import { type FoundLease, findLeases, type HeldJob, type JobRow, type LeaseRow, lockHeldJobs } from './queries.ts'
import { isFinal } from './read.ts'
import { requireReceipt } from './receipt.ts'
import { listRightless } from './rights.ts'
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
  const leases = await findLeases(ctx.db.kysely, actor, [readToken(token)])
  return completeFound(ctx, actor, token, completion, leases.get(Number(token)))
}

/** `lease` is what the token stands for as we saw it last, undefined where it stands for nothing: whether it is held is judged in the transaction. */
async function completeFound(
  ctx: Context,
  actor: Actor,
  token: string,
  completion: Completion,
  lease: FoundLease | undefined,
): Promise<Outcome> {
  const hash = hashCompletion(completion)
  const isVerified = await requireReceipt(ctx, actor, lease, completion.receipt)
  const index = lease === undefined ? undefined : await prepare(ctx, lease, completion)
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
  const leases = await findLeases(
    ctx.db.kysely,
    actor,
    completions.map(({ token }) => token),
  )
  const answers = completions.map(async ({ token, ...completion }) => {
    try {
      if (Buffer.byteLength(JSON.stringify(completion)) > maxCompletionBytes) throw new AppError('payload_too_large')
      return { token, ...(await completeFound(ctx, actor, String(token), completion, leases.get(token))) }
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
    const held = await lockItems(ctx, tx, items)
    const rightless = await findRightless(ctx, tx, held)
    const ends: Ends = { closed: [], finished: [], requeued: [] }
    const outcomes = new Map<Item, Ended | AppError>()
    for (const [item, found] of held) {
      if (!rightless.has(found.job.id)) {
        await begin(ctx, tx, item, found)
        outcomes.set(item, { outcome: end(ctx, item, found, ends), replaced: null, ended: [] })
        continue
      }
      // It takes counters, which come last for all that travel together: each is tried again alone.
      if (items.length > 1) throw new EndsAlone()
      outcomes.set(item, {
        ...{ outcome: undefined, replaced: null },
        ended: await endRightless(ctx, tx, system, [found.job.id]),
      })
    }
    // What is given back unfinished has no results.
    const done = ends.closed.flatMap(({ lease, end: { outcome } }) => (outcome === 'returned' ? [] : [lease.token]))
    await writeEnds(ctx, tx, ends, done.length === 0 ? [] : [commitArtifacts(ctx, done)])
    for (const [item, { lease }] of held) {
      const outcome = outcomes.get(item)
      if (outcome === undefined || outcome instanceof Error || outcome.outcome === undefined) continue
      await auditEgress(ctx, tx, item, lease)
      if (item.index !== undefined) outcome.replaced = await publish(ctx, tx, item.actor, lease, item.index)
    }
    // Only now: the same completion may have come twice in this very moment.
    for (const item of items) if (!outcomes.has(item)) outcomes.set(item, await findAccepted(tx, item))
    await countEnds(tx, ends)
    return items.map((item) => outcomes.get(item) ?? new AppError('lease_lost'))
  })
}

/** What each item ends, locked; of several about one lease the first. An expired lease is lost even before the reaper has come by. */
async function lockItems(ctx: Context, tx: Db, items: readonly Item[]): Promise<Map<Item, HeldJob>> {
  const workerIds = [...new Set(items.map(({ actor }) => actor.id ?? ''))]
  const tokens = items.map(({ token }) => readToken(token))
  const free = await lockHeldJobs(tx, workerIds, tokens)
  const held = new Map<Item, HeldJob>()
  for (const item of items) {
    const token = Number(item.token)
    const found = free.get(token)
    if (found === undefined || found.lease.workerId !== item.actor.id || found.lease.expiresAt <= ctx.clock.now())
      continue
    held.set(item, found)
    free.delete(token)
  }
  return held
}

/** Every act that ends rights ends the lease with them. Only a key loses its rights with time, and what is published must be right at this very commit. */
function findRightless(ctx: Context, tx: Db, held: ReadonlyMap<Item, HeldJob>): Promise<Set<string>> {
  const toBeProved = [...held].flatMap(([{ index }, { job }]) =>
    job.submittedByKey !== null || index !== undefined ? [job.id] : [],
  )
  return listRightless(tx, toBeProved, ctx.clock.now())
}

/** Whoever reports of work has begun it: unstarted attempts cost nothing, and one that fails at no cost would be tried for ever. */
async function begin(ctx: Context, tx: Db, { completion: { outcome } }: Item, found: HeldJob): Promise<void> {
  const { lease, attempt, job } = found
  if ((outcome !== 'succeeded' && outcome !== 'failed') || lease.phase !== 'dispatched') return
  const { number } = attempt
  await runTogether(tx, beginStatements([{ token: lease.token, jobId: job.id, number }], ctx.clock.now()))
  found.job = { ...job, attempt: number }
}

async function auditEgress(ctx: Context, tx: Db, { actor, completion }: Item, lease: LeaseRow): Promise<void> {
  const { egressRefused = [] } = completion
  if (egressRefused.length > 0) await auditRefusedEgress(ctx, tx, actor, lease, egressRefused)
}

/** The answer to a completion that was accepted before (same worker, same token, same content); to any other `lease_lost`. */
async function findAccepted(tx: Db, { actor, token, hash }: Item): Promise<Ended | AppError> {
  const job = await tx
    .selectFrom('jobs')
    .innerJoin('jobAttempts', 'jobAttempts.jobId', 'jobs.id')
    .select(['jobs.id', 'jobs.state'])
    .where('jobAttempts.token', '=', readToken(token))
    .where('jobAttempts.workerId', '=', actor.id ?? '')
    .whereRef('jobs.completedToken', '=', 'jobAttempts.token')
    .where('jobs.completionHash', '=', hash)
    .executeTakeFirst()
  if (job === undefined) return new AppError('lease_lost', { token })
  // A job that this completion did not end was queued by it, wherever its next attempt has got to since.
  const outcome = { jobId: job.id, state: isFinal(job.state) ? job.state : 'queued' }
  return { outcome, replaced: null, ended: [] }
}

/** Decides what a completion makes of its attempt and job, and puts down what is to be written. */
function end(ctx: Context, { actor, completion, token, hash }: Item, held: HeldJob, ends: Ends): Outcome {
  const { lease, attempt, job } = held
  const { outcome, error, receipt, isVerified } = completion
  const accepted = { token: Number(token), hash }
  const close = (waiting: 0 | 1): void => {
    ends.closed.push({ lease, phases: attempt.phases, end: { outcome, error, receipt, isVerified }, waiting })
  }
  const finish = (final: Final): Outcome => {
    close(0)
    ends.finished.push({ actor, job, final: { ...final, completion: accepted } })
    return { jobId: job.id, state: final.state }
  }
  const requeue = (reason: string, delayMs: number, change: Partial<JobRow>): Outcome => {
    close(1)
    ends.requeued.push({ job, reason, delayMs, change: { ...change, completion: accepted } })
    return { jobId: job.id, state: 'queued' }
  }
  if (outcome === 'succeeded') return finish({ state: 'succeeded', result: completion.result ?? {} })
  // Asked to stop, it may still have failed first or been given back: what was asked for decides.
  if (outcome === 'canceled' || job.cancelRequestedAt !== null) return finish({ state: 'canceled' })
  // A worker that drains gives the job back: no failure, no attempt spent.
  if (outcome === 'returned')
    return requeue('returned', 0, {
      uncountedAttempts: job.uncountedAttempts + (lease.phase === 'started' ? 1 : 0),
    })
  const verdict = verdictOn(job, { infrastructure: completion.infrastructure === true }, ctx.random.fraction())
  if (verdict.retry)
    return requeue(error?.code ?? 'failed', verdict.delayMs, {
      infrastructureFailures: verdict.infrastructureFailures,
    })
  return finish({
    state: 'failed',
    result: completion.result,
    error: error ?? { code: 'failed', message: 'The worker gave no reason' },
  })
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
async function prepare(ctx: Context, lease: FoundLease, completion: Completion): Promise<Prepared | undefined> {
  if (lease.input === null || completion.outcome !== 'succeeded') return undefined
  const { projectId, token } = lease
  const { commit, branch } = requireIngestResult(completion.result)
  // Counted by us: what is served is what arrived, whatever the worker believes it sent.
  const { files, bytes } = await prepareIndex(ctx, { projectId, token })
  return { projectId, repository: JSON.parse(lease.input).repository, commit, branch, files, bytes }
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
