import { createBackoff } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import { ServerAway } from './http-transport.ts'
import { ReplyInvalid } from './replies.ts'
import { CallRefused } from './signed-call.ts'

/** The longest pause a server's Retry-After is followed for. */
const longestAskedMs = 60_000

/**
 * Whether the same call may succeed later: the server is away, busy, broken or talks nonsense. Also 401: a clock or a
 * database being restored passes, and a revocation stops the worker by itself.
 */
export function isPassing(error: unknown): boolean {
  if (error instanceof ServerAway || error instanceof ReplyInvalid) return true
  if (!(error instanceof CallRefused)) return false
  if (['worker_revoked', 'worker_key_expired', 'invalid_enrolment_token'].includes(error.code)) return false
  return error.status >= 500 || error.status < 400 || [401, 408, 425, 429].includes(error.status)
}

/** Whether the server says that somebody else holds the lease by now, or nobody. */
export function isLeaseLost(error: unknown): boolean {
  return error instanceof CallRefused && error.code === 'lease_lost'
}

/** The pause before the next attempt: the backoff's, or longer when the server asked for it. */
export function pauseAfter(error: unknown, backoffMs: number): number {
  const askedMs = error instanceof CallRefused ? Math.min(error.retryAfterMs, longestAskedMs) : 0
  return Math.max(backoffMs, askedMs)
}

/**
 * Repeats a call until it succeeds or is refused for good, pausing with backoff; throws that refusal, or the signal's
 * reason once aborted. `onSetback` is told of each failure that will be retried.
 */
export async function persist<T>(
  call: () => Promise<T>,
  options: {
    clock: Clock
    random: Random
    signal: AbortSignal
    onSetback?: (error: unknown, pauseMs: number) => void
  },
): Promise<T> {
  const backoff = createBackoff(options.random.fraction)
  for (;;) {
    options.signal.throwIfAborted()
    try {
      return await call()
    } catch (error) {
      options.signal.throwIfAborted()
      if (!isPassing(error)) throw error
      const pauseMs = pauseAfter(error, backoff.next())
      options.onSetback?.(error, pauseMs)
      await options.clock.wait(pauseMs, options.signal)
    }
  }
}
