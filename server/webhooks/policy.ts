const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** The figures of deliveries, as docs/webhooks.md states them. */
export const policy = {
  /** From resolving the name to the last byte of the answer; Standard Webhooks asks for 15 to 30 s. */
  timeoutMs: 15 * second,
  /** Requests under way to one endpoint at a time. */
  concurrency: 2,
  /** Endpoints that one process delivers to at a time, of which those that fail may be half. */
  maxLanes: 512,
  /** After this an endpoint with more to come gives its place to the one that has waited longest. */
  sliceMs: 30 * second,
  /** Deliveries that are read at once for an endpoint. */
  roundSize: 100,
  leaseMs: minute,
  renewAfterMs: 20 * second,
  /** So many failures in a row open the breaker. */
  breakerFailures: 5,
  breakerMs: 30 * second,
  longestBreakerMs: 10 * minute,
  /** For so long at most a receiver that answers 429 or 503 with `Retry-After` is left alone altogether. */
  longestPauseMs: hour,
  /** An endpoint is disabled when it has failed for so long, and so often, without a success between. */
  disableAfterMs: 5 * day,
  disableAfterFailures: 10,
  longestRetryAfterMs: day,
  retentionMs: 30 * day,
  /** Replays and tests are refused while so many deliveries wait, and one replay takes so many: an endpoint is no means to flood whoever is behind it. */
  maxWaiting: 1000,
  graceSeconds: 24 * 60 * 60,
  maxOldKeys: 3,
} as const

/** Delays after the first attempt and the nine that may follow it: the schedule of Standard Webhooks 1.0.0, 75 h 35 min in all. */
const delaysMs = [5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, day]
const jitter = 0.2

/** How long to wait after so many tries have failed, ±20 %, and as long as the receiver asks up to a day; undefined: that was the last one. */
export function retryDelayMs(tries: number, fraction: number, retryAfterMs: number | undefined): number | undefined {
  const base = delaysMs[tries - 1]
  if (base === undefined) return undefined
  const delay = Math.round(base * (1 - jitter + 2 * jitter * fraction))
  return Math.max(delay, Math.min(retryAfterMs ?? 0, policy.longestRetryAfterMs))
}

/** How long the breaker stays open after so many failures in a row; 0: it does not open. */
export function breakerDelayMs(failures: number): number {
  if (failures < policy.breakerFailures) return 0
  return Math.min(policy.longestBreakerMs, policy.breakerMs * 2 ** (failures - policy.breakerFailures))
}

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110 §10.2.3); undefined for what is neither. */
export function readRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined
  if (/^\d+$/.test(value)) return Number(value) * second
  const at = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(value)
    ? Date.parse(value)
    : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}
