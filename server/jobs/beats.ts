import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type { heartbeat } from '@hivesync/contracts/worker-protocol.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { forUpdate, isOneOf } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { policy } from './policy.ts'
import { hasRights } from './rights.ts'

type Reply = ReplyOf<typeof heartbeat>
type Verdict = Reply['leases'][number]['verdict']

export interface Beats {
  /** One beat for all that a worker holds: extends its leases at once, and answers when there is something new to say or `waitSeconds` are over. */
  beat(actor: Actor, asked: readonly number[], waitSeconds: number, signal: () => AbortSignal): Promise<Reply>
}

/** A beat whose answer is held back. */
interface Held {
  workerId: string
  asked: readonly number[]
  jobIds: readonly string[]
  state: State
  end(how: 'news' | 'over' | 'stopping' | 'gone' | 'revoked'): void
}

/** What there is to say to a worker. A token that is not here is lost. */
interface State {
  verdicts: ReadonlyMap<number, Verdict>
  draining: boolean
}

/** Acts at other replicas are found by looking; those here wake us by the bus. */
const lookAgainMs = 500
/** Woken by the bus, looks are gathered for this long: a job that prints wakes its worker's beat with each chunk. */
const gatherMs = 20

/**
 * The beats of this process that are held open. No transaction waits with them: one statement for all of them looks twice a second, and soon after news of a job,
 * of rights or of a worker.
 */
export function createBeats(ctx: Context): Beats {
  const held = new Map<string, Held>()
  /** What each worker's last answer said beside `ok`: it is not news again. An answer that was lost is repeated when the wait is over. */
  const told = new Map<string, ReadonlySet<string>>()
  const touched = new Set<Held>()
  let ticking: NodeJS.Timeout | undefined
  let gathering: NodeJS.Timeout | undefined
  let isStopping = false

  ctx.bus.subscribe('identity', () => touch([...held.values()]))
  ctx.bus.subscribe('stopping', () => {
    isStopping = true
    for (const beat of [...held.values()]) beat.end('stopping')
  })

  function touch(beats: readonly Held[]): void {
    for (const beat of beats) touched.add(beat)
    if (touched.size === 0) return
    if (gathering !== undefined) return
    gathering = setTimeout(() => {
      gathering = undefined
      const beats = [...touched].filter(isHeld)
      touched.clear()
      void look(beats)
    }, gatherMs)
  }

  /** What was told is no news to the next beat, so it may follow at once: it is held. */
  const nextSeconds = (): number => (isStopping ? 1 : 0)
  const isHeld = (beat: Held): boolean => held.get(beat.workerId) === beat

  async function look(beats: readonly Held[]): Promise<void> {
    if (beats.length === 0) return
    try {
      const workers = await readStates(
        ctx,
        beats.map(({ workerId }) => workerId),
      )
      for (const beat of beats.filter(isHeld)) {
        const state = workers.get(beat.workerId)
        if (state === undefined) beat.end('revoked')
        else {
          beat.state = state
          if (isNews(beat.workerId, newsIn(beat.asked, state))) beat.end('news')
        }
      }
    } catch (error) {
      // They are answered when their time is over; the next look may succeed.
      ctx.log.error({ event: 'beats_not_looked_after' }, error)
    }
  }

  function isNews(workerId: string, news: ReadonlySet<string>): boolean {
    const known = told.get(workerId)
    return [...news].some((item) => known?.has(item) !== true)
  }

  function answer(workerId: string, asked: readonly number[], state: State, nextSeconds: number): Reply {
    const news = newsIn(asked, state)
    if (news.size === 0) told.delete(workerId)
    else told.set(workerId, news)
    const leases = asked.map((token) => ({ token, verdict: state.verdicts.get(token) ?? ('lost' as const) }))
    return { leases, draining: state.draining, nextSeconds }
  }

  async function hold(beat: Held, waitSeconds: number, signal: AbortSignal): Promise<void> {
    const ended = Promise.withResolvers<'news' | 'over' | 'stopping' | 'gone' | 'revoked'>()
    beat.end = ended.resolve
    const wake = (): void => touch([beat])
    const topics = [...beat.jobIds.map((jobId) => `job:${jobId}`), `worker:${beat.workerId}`]
    const unsubscribe = topics.map((topic) => ctx.bus.subscribe(topic, wake))
    const timeout = setTimeout(() => beat.end('over'), waitSeconds * 1000)
    const onAbort = (): void => beat.end('gone')
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    held.get(beat.workerId)?.end('over')
    held.set(beat.workerId, beat)
    ticking ??= setInterval(() => void look([...held.values()]), lookAgainMs)
    // What happened between our reading and our listening.
    wake()
    const how = await ended.promise
    if (isHeld(beat)) held.delete(beat.workerId)
    if (held.size === 0) {
      clearInterval(ticking)
      ticking = undefined
    }
    clearTimeout(timeout)
    signal.removeEventListener('abort', onAbort)
    for (const end of unsubscribe) end()
    if (how === 'revoked') throw new AppError('worker_revoked')
  }

  return {
    async beat(actor, asked, waitSeconds, signal) {
      const workerId = actor.id ?? ''
      const { state, jobIds } = await extendHeld(ctx, workerId, asked)
      if (waitSeconds === 0) return answer(workerId, asked, state, policy.heartbeatSeconds)
      if (isStopping || isNews(workerId, newsIn(asked, state))) return answer(workerId, asked, state, nextSeconds())
      const beat: Held = { workerId, asked, jobIds, state, end: () => {} }
      await hold(beat, waitSeconds, signal())
      // One that nobody reads any more has told nothing.
      if (signal().aborted) told.delete(workerId)
      return answer(workerId, asked, beat.state, nextSeconds())
    },
  }
}

function newsIn(asked: readonly number[], { verdicts, draining }: State): Set<string> {
  const news = new Set<string>(draining ? ['draining'] : [])
  for (const token of asked) {
    const verdict = verdicts.get(token) ?? 'lost'
    if (verdict !== 'ok') news.add(`${token} ${verdict}`)
  }
  return news
}

/** Extends what the worker still holds and has started, and reads what is to be said of it. One revoked since it proved itself is refused. */
async function extendHeld(
  ctx: Context,
  workerId: string,
  asked: readonly number[],
): Promise<{ state: State; jobIds: string[] }> {
  const now = ctx.clock.now()
  const tokens = asked.filter(Number.isSafeInteger)
  return ctx.db.transaction(async (tx) => {
    const worker = await tx
      .updateTable('workers')
      .set({ lastSeenAt: now })
      .where('id', '=', workerId)
      .where('revokedAt', 'is', null)
      .returning('drainingAt')
      .executeTakeFirst()
    if (worker === undefined) throw new AppError('worker_revoked')
    const draining = worker.drainingAt !== null
    if (tokens.length === 0) return { state: { verdicts: new Map(), draining }, jobIds: [] }
    // In the order in which everybody locks leases.
    const extended = tx
      .selectFrom('jobLeases')
      .select('token')
      .where('workerId', '=', workerId)
      .where('token', 'in', tokens)
      .where('expiresAt', '>', now)
      .where('phase', '=', 'started')
      .orderBy('token')
    await tx
      .updateTable('jobLeases')
      .set({ expiresAt: now + policy.leaseTtlMs })
      .where('token', 'in', forUpdate(tx, extended))
      .execute()
    // One whose job's rights ended with time is lost before the sweep has come by.
    const leases = await tx
      .selectFrom('jobLeases')
      .innerJoin('jobs', 'jobs.id', 'jobLeases.jobId')
      .select(['jobLeases.token', 'jobLeases.jobId', 'jobs.cancelRequestedAt'])
      .where(hasRights(now), '=', 1)
      .where('jobLeases.workerId', '=', workerId)
      .where('jobLeases.token', 'in', tokens)
      .where('jobLeases.expiresAt', '>', now)
      .execute()
    const verdicts = new Map(leases.map((lease) => [lease.token, verdictOf(lease.cancelRequestedAt)]))
    return { state: { verdicts, draining }, jobIds: leases.map(({ jobId }) => jobId) }
  })
}

const verdictOf = (cancelRequestedAt: number | null): Verdict => (cancelRequestedAt === null ? 'ok' : 'cancel')

/** What there is to say to each worker that is still enrolled. Whoever takes a job's rights away ends its lease, here or within the second in which a sweep finds it. */
async function readStates(ctx: Context, workerIds: readonly string[]): Promise<Map<string, State>> {
  const now = ctx.clock.now()
  const db = ctx.db.kysely
  const rows = await db
    .selectFrom('workers')
    .leftJoin('jobLeases', (join) =>
      join.onRef('jobLeases.workerId', '=', 'workers.id').on('jobLeases.expiresAt', '>', now),
    )
    .leftJoin('jobs', 'jobs.id', 'jobLeases.jobId')
    .select(['workers.id', 'workers.drainingAt', 'jobLeases.token', 'jobs.cancelRequestedAt'])
    .where(isOneOf(db, 'workers.id', workerIds))
    .where('workers.revokedAt', 'is', null)
    .where((eb) => eb.or([eb('workers.expiresAt', 'is', null), eb('workers.expiresAt', '>', now)]))
    .execute()
  const states = new Map<string, { verdicts: Map<number, Verdict>; draining: boolean }>()
  for (const { id, drainingAt, token, cancelRequestedAt } of rows) {
    const state = states.get(id) ?? { verdicts: new Map<number, Verdict>(), draining: drainingAt !== null }
    if (token !== null) state.verdicts.set(token, verdictOf(cancelRequestedAt))
    states.set(id, state)
  }
  return states
}
