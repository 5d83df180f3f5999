import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import { createBackoff } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Logger } from '../logger.ts'
import { isPassing, pauseAfter } from '../report/persistence.ts'
import type { ServerClient } from '../report/server-client.ts'
import type { IdleWatch } from './idle.ts'

/** Below the 30 s the contract allows, and below the idle limits of common proxies (60 s). */
const waitSeconds = 25
/** While jobs are refused: so soon after the disk has room again they are taken. */
const refusingWaitSeconds = 10
/** An empty answer that came faster than this was no long poll: without a pause it would become a busy loop. */
const shortestEmptyPollMs = 1_000

export interface ClaimLoopOptions {
  client: ServerClient
  clock: Clock
  random: Random
  log: Logger
  /** What this worker is right now; asked before each poll, so it may change. */
  report: () => Promise<WorkerReport>
  /** Slots neither running a job nor waiting to deliver its end. */
  freeSlots: () => number
  /** Resolves when a slot may have become free, or when the signal aborts. */
  nextFreeSlot: (signal: AbortSignal) => Promise<void>
  /** The server says that the key is due to be replaced; must not throw. Awaited before the next poll. */
  onKeyDue?: () => Promise<void>
  /** Begins a job; must not throw. */
  onClaim: (claim: Claim) => void
  /** The first poll has succeeded: the worker is known, its clock is right, jobs can come. */
  onReady: () => void
  /** Ends the loop after this time without anything to do, and at once when the server drains a worker that has nothing. */
  exitWhenIdle?: { afterMs: number; watch: IdleWatch } | undefined
  signal: AbortSignal
}

/**
 * Asks for jobs whenever a slot is free, until the signal aborts (a poll under way is dropped; what it would have brought
 * goes back by itself, unstarted) or the worker has been idle for long enough: that is found only after an empty answer, with
 * no poll under way, so that no job is on its way to a worker that ends. A server that is away is tried again forever, with
 * backoff and jitter.
 */
export async function runClaimLoop(options: ClaimLoopOptions): Promise<'stopped' | 'idle'> {
  const { clock, log, signal } = options
  const backoff = createBackoff(options.random.fraction)
  const state = { ready: false, away: false, draining: false }
  while (!signal.aborted) {
    const freeSlots = options.freeSlots()
    if (freeSlots === 0) {
      await options.nextFreeSlot(signal)
      continue
    }
    try {
      const pauseMs = await poll(options, state, freeSlots, backoff.next)
      if (pauseMs === 'idle') return 'idle'
      if (pauseMs === 0) backoff.reset()
      else await clock.wait(pauseMs, signal)
    } catch (error) {
      if (signal.aborted) return 'stopped'
      if (!state.away || !isPassing(error)) log.warn('server_away', { reason: String(error) })
      state.away = true
      await clock.wait(pauseAfter(error, backoff.next()), signal)
    }
  }
  return 'stopped'
}

/** One poll; answers how long to pause before the next, or that there is to be none. */
async function poll(
  options: ClaimLoopOptions,
  state: { ready: boolean; away: boolean; draining: boolean },
  freeSlots: number,
  nextPauseMs: () => number,
): Promise<number | 'idle'> {
  const { client, clock, log, signal } = options
  const report = await options.report()
  const sentAtMs = clock.monotonicMs()
  // The first poll does not wait: it shows at once whether this worker is accepted.
  const patience = report.refusing === undefined ? waitSeconds : refusingWaitSeconds
  const body = { report, freeSlots, waitSeconds: state.ready ? Math.min(patience, idleSeconds(options)) : 0 }
  const { jobs, draining, rotateKey } = await client.claimJobs(body, { signal })
  if (state.away) log.info('server_back')
  state.away = false
  if (draining !== state.draining) log.info(draining ? 'drain_requested' : 'drain_lifted')
  state.draining = draining
  // More than asked for would not fit into the sandbox's slots; what is not started goes back.
  if (jobs.length > freeSlots) log.error('too_many_jobs', { count: jobs.length, slots: freeSlots })
  for (const claim of jobs.slice(0, freeSlots)) options.onClaim(claim)
  if (jobs.length === 0 && isIdle(options, draining)) return 'idle'
  if (rotateKey) await options.onKeyDue?.()
  if (!state.ready) {
    state.ready = true
    options.onReady()
    return 0
  }
  const wasShort = jobs.length === 0 && clock.monotonicMs() - sentAtMs < shortestEmptyPollMs
  return wasShort ? Math.max(nextPauseMs(), shortestEmptyPollMs) : 0
}

/** What is left of the time it may be idle, in whole seconds. */
function idleSeconds({ exitWhenIdle }: ClaimLoopOptions): number {
  if (exitWhenIdle === undefined) return Number.POSITIVE_INFINITY
  const { afterMs, watch } = exitWhenIdle
  return Math.max(1, Math.ceil((afterMs - (watch.idleMs() ?? 0)) / 1000))
}

function isIdle({ exitWhenIdle }: ClaimLoopOptions, draining: boolean): boolean {
  const idleMs = exitWhenIdle?.watch.idleMs()
  return exitWhenIdle !== undefined && idleMs !== undefined && (draining || idleMs >= exitWhenIdle.afterMs)
}
