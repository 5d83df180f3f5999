import { createBackoff } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Logger } from '../logger.ts'
import { fenceMarginMs, type Leases } from './leases.ts'
import type { ServerClient } from './server-client.ts'

const longestIntervalMs = 60_000
const longestCallMs = 10_000
/** contracts/worker-protocol.ts, heartbeat.body. */
const maxWaitSeconds = 20
const maxTokens = 1024
/** A server that answers at once with nothing new, whatever it says of the next beat, is not asked more often than this. */
const shortestIntervalMs = 1_000
/** So soon a job that has begun is part of a beat; shorter ones cost none of their own. */
const newcomerMs = 1_000

export interface HeartbeatOptions {
  client: ServerClient
  leases: Leases
  /** Tokens of ended jobs whose completion the server has not acknowledged yet: it must not give them away meanwhile. */
  undelivered: () => readonly number[]
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}

/**
 * Heartbeats for everything this worker holds; resolves once the signal is aborted. While it holds anything one beat is
 * under way, held open by the server until there is news, so a cancel arrives at once; a job begun meanwhile joins within a
 * second, by a newer beat that ends the older one; a job shorter than that costs none. A server that does not hold beats is asked at
 * its own interval.
 *
 * Why no lease comes near its end, with L = the time from a beat's sending to the self-fence (lease less margin): the server
 * extends when a beat arrives, which is after it was sent, and `confirm` counts from the sending, so the fence is never late.
 * A beat is held for L/4, so its answer is there by L/4 and the next beat's by L/2. Should that one be lost, it is given up at
 * 3L/4 (L/4 held, L/4 for the way) and repeated unheld, with L/4 left to be answered.
 */
export async function runHeartbeat(options: HeartbeatOptions): Promise<void> {
  const { leases, clock, signal } = options
  const backoff = createBackoff(options.random.fraction)
  let mayHold = true
  let isFresh = true
  while (!signal.aborted) {
    const tokens = tokensOf(options)
    if (tokens.length === 0) {
      await leases.nextChange(signal)
      isFresh = true
      continue
    }
    if (isFresh) {
      isFresh = false
      await clock.wait(newcomerMs, signal)
      continue
    }
    const fenceMs = fenceAfterMs(leases)
    const beat = send(options, tokens, mayHold ? Math.floor(fenceMs / 4000) : 0, fenceMs)
    const pauseMs = await Promise.race([beat, newcomer(options, tokens, beat)])
    // A newer beat speaks for all; this one ends by it, and acts on its own answer.
    if (pauseMs === 'newcomer') continue
    mayHold = pauseMs !== 'failed'
    if (pauseMs !== 'failed') backoff.reset()
    const waitMs = pauseMs === 'failed' ? Math.min(backoff.next(), fenceMs / 4) : Math.min(pauseMs, fenceMs / 3)
    if (waitMs > 0) await clock.wait(waitMs, signal)
  }
}

function tokensOf({ leases, undelivered }: HeartbeatOptions): number[] {
  return [...new Set([...leases.tokens(), ...undelivered()])].slice(0, maxTokens)
}

function fenceAfterMs(leases: Leases): number {
  const ttlMs = leases.shortestTtlMs() ?? longestIntervalMs
  return ttlMs - fenceMarginMs(ttlMs)
}

/** Resolves a second after a lease was confirmed that the beat under way does not name; never once that beat has ended. */
async function newcomer(
  { leases, clock, signal }: HeartbeatOptions,
  named: readonly number[],
  beat: Promise<unknown>,
): Promise<'newcomer'> {
  const over = new AbortController()
  const end = () => over.abort()
  signal.addEventListener('abort', end)
  void beat.then(end)
  const until = over.signal
  while (!until.aborted) {
    if (leases.tokens().some((token) => !named.includes(token))) {
      await clock.wait(newcomerMs, until)
      if (!until.aborted && leases.tokens().some((token) => !named.includes(token))) break
    } else await leases.nextChange(until)
  }
  signal.removeEventListener('abort', end)
  return 'newcomer'
}

/** Sends one beat and acts on the verdicts; answers after how many milliseconds the next is due. */
async function send(
  options: HeartbeatOptions,
  tokens: number[],
  waitSeconds: number,
  fenceMs: number,
): Promise<number | 'failed'> {
  const { client, clock, log, signal } = options
  // The server extends when it reads the request, which is after this moment: never later than its own clock.
  const sentAtMs = clock.monotonicMs()
  const heldSeconds = Math.min(waitSeconds, maxWaitSeconds)
  const timeoutMs = heldSeconds * 1000 + Math.min(longestCallMs, fenceMs / 4)
  try {
    const body = { leases: tokens, ...(heldSeconds > 0 && { waitSeconds: heldSeconds }) }
    const reply = await client.heartbeat(body, { signal, timeoutMs })
    const isNews = act(options, reply.leases, sentAtMs)
    // There may be more to learn; the server does not say twice what it has said.
    if (isNews) return 0
    const nextMs = Math.min(longestIntervalMs, reply.nextSeconds * 1000)
    const passedMs = clock.monotonicMs() - sentAtMs
    return passedMs < shortestIntervalMs ? Math.max(nextMs, shortestIntervalMs - passedMs) : nextMs
  } catch (error) {
    if (!signal.aborted) log.warn('heartbeat_failed', { reason: String(error) })
    return 'failed'
  }
}

/** Whether a verdict changed what this worker does. */
function act(
  { leases, log }: HeartbeatOptions,
  verdicts: readonly { token: number; verdict: 'ok' | 'cancel' | 'lost' }[],
  sentAtMs: number,
): boolean {
  let isNews = false
  for (const { token, verdict } of verdicts) {
    const lease = leases.find(token)
    if (lease === undefined) continue
    const { jobId } = lease.claim
    if (verdict === 'lost') {
      isNews ||= lease.stopReason !== 'lost'
      log.warn('lease_lost', { token, jobId })
      lease.stop('lost')
      continue
    }
    lease.confirm(sentAtMs)
    if (verdict === 'cancel' && lease.stopReason === undefined) {
      isNews = true
      log.info('job_cancel_requested', { token, jobId })
      lease.stop('canceled')
    }
  }
  return isNews
}
