import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Context } from '../platform/context.ts'
import { claim } from './claim.ts'

/** A worker that waits for work. */
export interface Poll {
  workerId: string
  teamId: string | null
  kinds: readonly string[]
  labels: readonly string[]
  freeSlots: number
}

export interface Dispatcher {
  /** Resolves with jobs as soon as there are any, or with none when `waitMs` is over or the signal aborts. A worker's newer poll ends its older one. */
  wait(poll: Poll, waitMs: number, signal: AbortSignal): Promise<Claim[]>
  /** Resolves when `waitMs` is over, the signal aborts or the dispatcher closes: the wait of a worker that must not get work. */
  idle(waitMs: number, signal: AbortSignal): Promise<void>
  close(): void
}

interface Waiting {
  poll: Poll
  answer(claims: Claim[]): void
  fail(error: unknown): void
}

/** Polls and submissions of this span are served by one claim: fewer transactions, and teams are weighed against each other. */
const gatherMs = 2
/** Replicas cannot hear each other's submissions, and delayed retries come due silently: look again this often. */
const lookAgainMs = 1000

/** The only claimant of this process. It wakes on news of claimable jobs and looks again each second, so lost news costs a second, never a job. */
export function createDispatcher(ctx: Context): Dispatcher {
  const waiting = new Map<string, Waiting>()
  const idling = new Set<() => void>()
  let gathering: NodeJS.Timeout | undefined
  let running = false
  let again = false

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

  async function serve(group: Waiting[]): Promise<void> {
    const [first] = group
    if (first === undefined) return
    try {
      const { kinds, labels, teamId } = first.poll
      const claims = await claim(ctx, { kinds, labels, teamId, slots: slotsInTurn(group) })
      // A worker that hung up meanwhile does not start its lease in time, and the job returns without costing an attempt.
      for (const member of group) {
        const own = claims.get(member.poll.workerId)
        if (own !== undefined) member.answer(own)
      }
    } catch (error) {
      for (const member of group) member.fail(error)
    }
  }

  return {
    wait: (poll, waitMs, signal) =>
      new Promise((resolve, reject) => {
        waiting.get(poll.workerId)?.answer([])
        const end = (): void => {
          clearTimeout(timeout)
          signal.removeEventListener('abort', giveUp)
          if (waiting.get(poll.workerId) === entry) waiting.delete(poll.workerId)
        }
        const answer = (claims: Claim[]): void => {
          end()
          resolve(claims)
        }
        const giveUp = (): void => answer([])
        const entry: Waiting = {
          poll,
          answer,
          fail: (error) => {
            end()
            reject(error)
          },
        }
        const timeout = setTimeout(giveUp, waitMs)
        signal.addEventListener('abort', giveUp)
        waiting.set(poll.workerId, entry)
        wake()
      }),
    idle: (waitMs, signal) =>
      new Promise((resolve) => {
        const end = (): void => {
          clearTimeout(timeout)
          idling.delete(end)
          signal.removeEventListener('abort', end)
          resolve()
        }
        const timeout = setTimeout(end, waitMs)
        idling.add(end)
        signal.addEventListener('abort', end)
      }),
    close() {
      unsubscribe()
      for (const end of [...idling]) end()
      clearInterval(timer)
      clearTimeout(gathering)
      for (const entry of [...waiting.values()]) entry.answer([])
    },
  }
}

/** Workers that can take the same jobs are served together. */
function groupsOf(entries: readonly Waiting[]): Waiting[][] {
  const groups = new Map<string, Waiting[]>()
  for (const entry of entries) {
    const { kinds, labels, teamId } = entry.poll
    const key = JSON.stringify([teamId, [...kinds].sort(), [...labels].sort()])
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
