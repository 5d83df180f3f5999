import type { Backoff } from '@hivesync/contracts/jobs.ts'

/** The figures of the lease protocol, in one place. */
export const policy = {
  /** A claimed job that is not started within this goes back without costing an attempt. */
  startWithinMs: 30_000,
  /** A started lease without a heartbeat for this long is lost. Six beats: a network hiccup must not kill long work. */
  leaseTtlMs: 30_000,
  heartbeatSeconds: 5,
  defaultTtlSeconds: 86_400,
  defaultPriority: 5,
  /** A level of priority goes before what was submitted up to this much earlier: a head start, so that nothing starves (migration 0004 knows the figure too). */
  headStartMs: 300_000,
  defaultMaxAttempts: 1,
  /** Lost workers and failing networks are retried from a budget of their own (requirement C7). */
  maxInfrastructureFailures: 3,
  maxLogBytes: 16 * 1024 * 1024,
  /** A chunk costs a row however short it is: 64 bytes each fill the log above. */
  maxLogChunks: 262_144,
  /** Reports of progress that are kept of a job: two a second, as our worker sends them, for more than an hour. Later ones are shown, not kept. */
  maxProgressEvents: 10_000,
} as const

const defaultBackoff: Backoff = { strategy: 'exponential', seconds: 5, maxSeconds: 300 }
/** An exponential backoff that names no longest wait; no first wait is longer. */
const defaultMaxSeconds = 3600

/** The wait after so many failures, in whole milliseconds: half of it is fixed, half is chance, so that a herd of failures spreads out. */
export function retryDelayMs(failures: number, fraction: number, backoff: Backoff = defaultBackoff): number {
  const { strategy, seconds, maxSeconds = defaultMaxSeconds } = backoff
  const wait = strategy === 'fixed' ? seconds : Math.min(maxSeconds, seconds * 2 ** Math.min(failures, 16))
  return Math.round(wait * 1000 * (0.5 + fraction / 2))
}
