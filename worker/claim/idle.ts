import type { Clock } from '../clock.ts'

export interface IdleWatch {
  /** Something began or ended. */
  touch(): void
  /** How long nothing has been held; undefined while anything is: a job, or a result the server does not have yet. */
  idleMs(): number | undefined
}

/** Watches how long the worker has had nothing to do; begins now. */
export function createIdleWatch(clock: Clock, held: () => number): IdleWatch {
  let touchedMs = clock.monotonicMs()
  return {
    touch() {
      touchedMs = clock.monotonicMs()
    },
    idleMs: () => (held() > 0 ? undefined : clock.monotonicMs() - touchedMs),
  }
}
