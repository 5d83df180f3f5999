import type { Logger } from '../logger.ts'
import type { MemoryWindows } from './memory-windows.ts'
import type { WindowState } from './sliding-window.ts'
import type { WindowRule, Windows } from './windows.ts'

/** After a failure nobody waits for Redis for so long; then one request tries. */
const retryAfterMs = 1000

export interface SharedWindowsOptions {
  hit(rules: readonly WindowRule[]): Promise<readonly WindowState[]>
  /** Why Redis could not be asked when the server started; undefined when it answered. */
  fault?: unknown
  local: MemoryWindows
  /** How many replicas count together: without Redis each grants its part, so that all of them together grant no more than the limit. */
  replicas: number
  now(): number
  log: Logger
  close(): Promise<void>
}

/**
 * Windows that all replicas share. While Redis does not answer, each replica counts its part of every limit by itself: no request waits for a dead store for longer than
 * its time-out, and none is let through uncounted.
 */
export function createSharedWindows(options: SharedWindowsOptions): Windows {
  const { hit, fault, local, replicas, now, log, close } = options
  let failedAt: number | undefined
  let isTrying = false

  function countLocally(rules: readonly WindowRule[]): readonly WindowState[] {
    return local.hit(rules.map((rule) => ({ ...rule, limit: Math.max(1, Math.floor(rule.limit / replicas)) })))
  }

  function noteFailure(error: unknown): void {
    if (failedAt === undefined) log.error({ event: 'limits_degraded' }, error)
    failedAt = now()
  }
  if (fault !== undefined) noteFailure(fault)

  async function count(rules: readonly WindowRule[]): Promise<readonly WindowState[]> {
    isTrying = failedAt !== undefined
    try {
      const states = await hit(rules)
      if (failedAt !== undefined) log.info({ event: 'limits_shared' })
      failedAt = undefined
      return states
    } catch (error) {
      noteFailure(error)
      return countLocally(rules)
    } finally {
      isTrying = false
    }
  }

  return {
    hit(rules) {
      const isWaiting = failedAt !== undefined && (isTrying || Math.abs(now() - failedAt) < retryAfterMs)
      return isWaiting ? countLocally(rules) : count(rules)
    },
    get state() {
      return failedAt === undefined ? 'shared' : 'degraded'
    },
    sweep: local.sweep,
    close,
  }
}
