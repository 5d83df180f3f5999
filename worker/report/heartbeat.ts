import { createBackoff } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Logger } from '../logger.ts'
import type { Leases } from './leases.ts'
import type { ServerClient } from './server-client.ts'

/** A third of the lease at most, so that two beats may be lost. */
const beatsPerLease = 3
/** Until the server has named its own interval. */
const firstIntervalMs = 1_000
const shortestIntervalMs = 250
const longestIntervalMs = 60_000
const longestCallMs = 10_000
/** contracts/worker-protocol.ts, heartbeat.body. */
const maxTokens = 1024

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
 * One heartbeat for everything this worker holds, at the server's interval and only while it holds something; resolves
 * once the signal is aborted. The answers stop jobs that were canceled or lost; silence is the leases' own self-fence.
 */
export async function runHeartbeat(options: HeartbeatOptions): Promise<void> {
  const { leases, clock, log, signal } = options
  const backoff = createBackoff(options.random.fraction)
  let wantedMs: number | undefined
  while (!signal.aborted) {
    const tokens = [...leases.tokens(), ...options.undelivered()].slice(0, maxTokens)
    if (tokens.length === 0) {
      await leases.nextChange(signal)
      continue
    }
    const ttlMs = leases.shortestTtlMs() ?? longestIntervalMs
    const intervalMs = Math.min(wantedMs ?? firstIntervalMs, ttlMs / beatsPerLease)
    await clock.wait(intervalMs, signal)
    while (!signal.aborted) {
      try {
        wantedMs = await beat(options, ttlMs)
        backoff.reset()
        break
      } catch (error) {
        if (signal.aborted) break
        log.warn('heartbeat_failed', { reason: String(error) })
        await clock.wait(Math.min(backoff.next(), intervalMs), signal)
        if (leases.tokens().length === 0) break
      }
    }
  }
}

/** Sends one heartbeat and acts on the verdicts; answers when the server wants the next, in milliseconds. */
async function beat(options: HeartbeatOptions, ttlMs: number): Promise<number> {
  const { client, leases, clock, log, signal } = options
  const tokens = [...new Set([...leases.tokens(), ...options.undelivered()])].slice(0, maxTokens)
  // The server counts from when it reads the request, which is after this moment: never later than its own clock.
  const sentAtMs = clock.monotonicMs()
  const timeoutMs = Math.min(longestCallMs, ttlMs / beatsPerLease)
  const reply = await client.heartbeat({ leases: tokens }, { signal, timeoutMs })
  for (const { token, verdict } of reply.leases) {
    const lease = leases.find(token)
    if (lease === undefined) continue
    if (verdict === 'lost') {
      log.warn('lease_lost', { token, jobId: lease.claim.jobId })
      lease.stop('lost')
      continue
    }
    lease.confirm(sentAtMs)
    if (verdict === 'cancel' && lease.stopReason === undefined) {
      log.info('job_cancel_requested', { token, jobId: lease.claim.jobId })
      lease.stop('canceled')
    }
  }
  return Math.min(longestIntervalMs, Math.max(shortestIntervalMs, reply.nextSeconds * 1000))
}
