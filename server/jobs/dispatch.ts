import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Context } from '../platform/context.ts'
import { claim } from './claim.ts'
import { claimSizes } from './measures.ts'
import { returnClaims } from './reap.ts'

/** A worker that waits for work. */
export interface Poll {
  workerId: string
  teamId: string | null
  kinds: readonly string[]
  labels: readonly string[]
  pool: string
  freeSlots: number
}

export interface Dispatcher {
  /** Resolves with jobs as soon as there are any, or with none when `waitMs` is over (after at least one look) or the signal aborts. A worker's newer poll ends its older one. */
  wait(poll: Poll, waitMs: number, signal: AbortSignal): Promise<Claim[]>
  /** Resolves when `waitMs` is over, the signal aborts or the dispatcher closes: the wait of a worker that must not get work. */
  idle(waitMs: number, signal: AbortSignal): Promise<void>
  close(): void
}

interface Waiting {
  poll: Poll
  group: Group
  /** A claim for it is under way: its outcome must be awaited, for jobs may already be leased to this worker. */
  isClaiming: boolean
  hasLooked: boolean
  /** Its time is up: answered by the look under way, or the first one. */
  isOver: boolean
  /** Nobody listens any more: what is claimed for it goes back. */
  isGone: boolean
  settled: PromiseWithResolvers<Claim[]>
}

/** Workers that can take the same jobs; they are served together. */
interface Group {
  key: string
  members: Set<Waiting>
  /** Those for whom nobody has looked yet. */
  fresh: Set<Waiting>
}

/**
 * Polls and submissions of this span are served by one claim: fewer transactions, and teams are weighed against each other. News of a job after a quiet span
 * of this length is looked after at once: whoever could take it waits already.
 */
const gatherMs = 2
/** Replicas cannot hear each other's submissions, and delayed retries come due silently: look again this often. */
const lookAgainMs = 1000
/** Slots served by one claim: a bigger transaction keeps others waiting, and its rows outgrow the parameters of a statement (SQLite: 32,766). */
const maxSlots = 100

/**
 * The only claimant of this process. It wakes on news of claimable jobs and looks again each second, so lost news costs a second, never a job. A worker that
 * comes is looked after alone: for the others there was nothing before, and ten thousand of them poll hundreds of times a second.
 */
export function createDispatcher(ctx: Context): Dispatcher {
  const waiting = new Map<string, Waiting>()
  const groups = new Map<string, Group>()
  const idling = new Set<() => void>()
  let gathering: NodeJS.Timeout | undefined
  let soon: NodeJS.Immediate | undefined
  let lookedAtMs = 0
  let running = false
  let again = false
  /** There may be jobs for those who found none before. */
  let isNews = false
  let isClosed = false

  const wake = (): void => {
    if (waiting.size === 0) return
    if (running) again = true
    else if (soon === undefined) gathering ??= setTimeout(run, gatherMs)
  }
  const wakeAll = (): void => {
    isNews = true
    const isQuiet = !running && gathering === undefined && performance.now() - lookedAtMs > gatherMs
    if (isQuiet && waiting.size > 0) soon ??= setImmediate(run)
    else wake()
  }
  const unsubscribe = ctx.bus.subscribe('jobs', wakeAll)
  const timer = setInterval(wakeAll, lookAgainMs).unref()

  async function run(): Promise<void> {
    gathering = undefined
    soon = undefined
    running = true
    const isForAll = isNews
    isNews = false
    for (const group of [...groups.values()]) {
      if (isForAll) await serve(group, group.members)
      else if (group.fresh.size > 0) await serve(group, group.fresh)
    }
    running = false
    lookedAtMs = performance.now()
    if (!again) return
    again = false
    wake()
  }

  async function serve(group: Group, members: ReadonlySet<Waiting>): Promise<void> {
    // As many as one claim can serve: where it finds nothing for them, there is nothing for the others.
    const asked = members.values().take(maxSlots).toArray()
    const [first] = asked
    // While other groups were served, all may have hung up.
    if (first === undefined) return
    for (const member of asked) member.isClaiming = true
    const looked = [...group.fresh]
    group.fresh.clear()
    const { kinds, labels, pool, teamId } = first.poll
    const slots = slotsInTurn(asked).slice(0, maxSlots)
    let claims: Map<string, Claim[]>
    const startMs = ctx.clock.now()
    try {
      claims = await claim(ctx, { kinds, labels, pool, teamId, slots })
    } catch (error) {
      for (const member of new Set([...asked, ...looked])) fail(member, error)
      return
    }
    const found = [...claims.values()].flat().length
    if (found > 0) noteClaim(ctx, startMs, found)
    if (found === slots.length) {
      again = true
      isNews = true
    }
    for (const member of asked) await deliver(member, claims.get(member.poll.workerId) ?? [])
    for (const member of looked) if (!member.hasLooked) await deliver(member, [])
    if (claims.size === 0) sendToBack(asked)
  }

  /** Workers that must not get work any more may be all that one look asks for: the next asks for others. */
  function sendToBack(members: readonly Waiting[]): void {
    for (const member of members) if (member.group.members.delete(member)) member.group.members.add(member)
  }

  async function deliver(member: Waiting, claims: Claim[]): Promise<void> {
    member.isClaiming = false
    member.hasLooked = true
    if (member.isGone) {
      // Else the jobs would wait for nobody until their leases run out. What is lost on the wire still does.
      await returnClaims(ctx, claims)
      settle(member, [])
    } else if (claims.length > 0 || member.isOver) settle(member, claims)
  }

  const isWaiting = (entry: Waiting): boolean => waiting.get(entry.poll.workerId) === entry

  function enter(poll: Poll): Waiting {
    const key = keyOf(poll)
    const group = groups.get(key) ?? { key, members: new Set(), fresh: new Set() }
    groups.set(key, group)
    const settled = Promise.withResolvers<Claim[]>()
    const entry = { poll, group, isClaiming: false, hasLooked: false, isOver: false, isGone: false, settled }
    waiting.set(poll.workerId, entry)
    group.members.add(entry)
    group.fresh.add(entry)
    return entry
  }

  function forget(entry: Waiting): void {
    if (isWaiting(entry)) waiting.delete(entry.poll.workerId)
    const { key, members, fresh } = entry.group
    members.delete(entry)
    fresh.delete(entry)
    if (members.size === 0 && groups.get(key) === entry.group) groups.delete(key)
  }

  function settle(entry: Waiting, claims: Claim[]): void {
    forget(entry)
    entry.settled.resolve(claims)
  }

  function fail(entry: Waiting, error: unknown): void {
    forget(entry)
    entry.settled.reject(error)
  }

  function timeOut(entry: Waiting): void {
    entry.isOver = true
    if (!entry.isClaiming && (entry.hasLooked || isClosed)) settle(entry, [])
  }

  function hangUp(entry: Waiting): void {
    entry.isGone = true
    if (!entry.isClaiming) settle(entry, [])
  }

  return {
    async wait(poll, waitMs, signal) {
      if (isClosed || signal.aborted) return []
      const older = waiting.get(poll.workerId)
      if (older !== undefined) hangUp(older)
      const entry = enter(poll)
      const timeout = setTimeout(() => timeOut(entry), waitMs)
      const onAbort = (): void => hangUp(entry)
      signal.addEventListener('abort', onAbort)
      wake()
      try {
        return await entry.settled.promise
      } finally {
        clearTimeout(timeout)
        signal.removeEventListener('abort', onAbort)
      }
    },
    idle: (waitMs, signal) =>
      new Promise((resolve) => {
        const end = (): void => {
          clearTimeout(timeout)
          idling.delete(end)
          signal.removeEventListener('abort', end)
          resolve()
        }
        const timeout = setTimeout(end, isClosed || signal.aborted ? 0 : waitMs)
        idling.add(end)
        signal.addEventListener('abort', end)
      }),
    close() {
      isClosed = true
      unsubscribe()
      for (const end of [...idling]) end()
      clearInterval(timer)
      clearTimeout(gathering)
      clearImmediate(soon)
      for (const entry of [...waiting.values()]) timeOut(entry)
    },
  }
}

function noteClaim({ metrics, tracer, clock }: Context, startMs: number, jobs: number): void {
  metrics.observe(claimSizes, jobs)
  const attributes = { 'hivesync.claim.jobs': jobs }
  tracer?.end(tracer.begin(), undefined, { name: 'claim', kind: 'internal', startMs, endMs: clock.now(), attributes })
}

function keyOf({ kinds, labels, pool, teamId }: Poll): string {
  return JSON.stringify([teamId, pool, [...kinds].sort(), [...labels].sort()])
}

/** One entry per free slot, a slot of each worker in turn, so that work spreads over the machines. */
function slotsInTurn(group: readonly Waiting[]): string[] {
  const most = Math.max(...group.map(({ poll }) => poll.freeSlots))
  return Array.from({ length: most }, (_, round) =>
    group.filter(({ poll }) => poll.freeSlots > round).map(({ poll }) => poll.workerId),
  ).flat()
}
