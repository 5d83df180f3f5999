import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Context } from '../platform/context.ts'
import { claim } from './claim.ts'
import { returnClaims } from './reap.ts'

/** A worker that waits for work. */
export interface Poll {
  workerId: string
  teamId: string | null
  kinds: readonly string[]
  labels: readonly string[]
  pool: string
  /** It begins at once: what it gets counts as started. */
  startNow: boolean
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
  /** A claim for it is under way: its outcome must be awaited, for jobs may already be leased to this worker. */
  isClaiming: boolean
  hasLooked: boolean
  /** Its time is up: answered by the look under way, or the first one. */
  isOver: boolean
  /** Nobody listens any more: what is claimed for it goes back. */
  isGone: boolean
  settled: PromiseWithResolvers<Claim[]>
}

/** Polls and submissions of this span are served by one claim: fewer transactions, and teams are weighed against each other. */
const gatherMs = 2
/** Replicas cannot hear each other's submissions, and delayed retries come due silently: look again this often. */
const lookAgainMs = 1000
/** Slots served by one claim: a bigger transaction keeps others waiting, and its rows outgrow the parameters of a statement (SQLite: 32,766). */
const maxSlots = 100

/** The only claimant of this process. It wakes on news of claimable jobs and looks again each second, so lost news costs a second, never a job. */
export function createDispatcher(ctx: Context): Dispatcher {
  const waiting = new Map<string, Waiting>()
  const idling = new Set<() => void>()
  let gathering: NodeJS.Timeout | undefined
  let running = false
  let again = false
  let isClosed = false

  const wake = (): void => {
    if (waiting.size === 0) return
    if (running) again = true
    else gathering ??= setTimeout(run, gatherMs)
  }
  const unsubscribe = ctx.bus.subscribe('jobs', wake)
  const timer = setInterval(wake, lookAgainMs).unref()

  async function run(): Promise<void> {
    gathering = undefined
    running = true
    for (const group of groupsOf([...waiting.values()])) await serve(group)
    running = false
    if (!again) return
    again = false
    wake()
  }

  async function serve(entries: readonly Waiting[]): Promise<void> {
    // While other groups were served, some may have hung up.
    const group = entries.filter(isWaiting)
    const [first] = group
    if (first === undefined) return
    for (const member of group) member.isClaiming = true
    const { kinds, labels, pool, teamId, startNow } = first.poll
    const slots = slotsInTurn(group).slice(0, maxSlots)
    let claims: Map<string, Claim[]>
    try {
      claims = await claim(ctx, { kinds, labels, pool, teamId, startNow, slots })
    } catch (error) {
      for (const member of group) fail(member, error)
      return
    }
    if ([...claims.values()].flat().length === slots.length) again = true
    for (const member of group) await deliver(member, claims.get(member.poll.workerId) ?? [])
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

  function forget(entry: Waiting): void {
    if (isWaiting(entry)) waiting.delete(entry.poll.workerId)
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
      const settled = Promise.withResolvers<Claim[]>()
      const entry = { poll, isClaiming: false, hasLooked: false, isOver: false, isGone: false, settled }
      waiting.set(poll.workerId, entry)
      const timeout = setTimeout(() => timeOut(entry), waitMs)
      const onAbort = (): void => hangUp(entry)
      signal.addEventListener('abort', onAbort)
      wake()
      try {
        return await settled.promise
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
      for (const entry of [...waiting.values()]) timeOut(entry)
    },
  }
}

/** Workers that can take the same jobs are served together. */
function groupsOf(entries: readonly Waiting[]): Waiting[][] {
  const groups = new Map<string, Waiting[]>()
  for (const entry of entries) {
    const { kinds, labels, pool, teamId, startNow } = entry.poll
    const key = JSON.stringify([teamId, pool, startNow, [...kinds].sort(), [...labels].sort()])
    groups.set(key, [...(groups.get(key) ?? []), entry])
  }
  return [...groups.values()]
}

/** One entry per free slot, a slot of each worker in turn, so that work spreads over the machines. */
function slotsInTurn(group: readonly Waiting[]): string[] {
  const most = Math.max(...group.map(({ poll }) => poll.freeSlots))
  return Array.from({ length: most }, (_, round) =>
    group.filter(({ poll }) => poll.freeSlots > round).map(({ poll }) => poll.workerId),
  ).flat()
}
