import type { Clock } from '../clock.ts'

export interface ManualClock extends Clock {
  /** Moves time on and lets everything that was waiting until then continue. */
  advance(ms: number): Promise<void>
  /** Resolves with the length of the next wait that begins. */
  nextWait(): Promise<number>
  /** The length of every wait begun so far. */
  readonly waits: readonly number[]
}

/** A clock that stands still until told otherwise. */
export function createManualClock(epochMs: number): ManualClock {
  let passedMs = 0
  const waits: number[] = []
  const sleepers = new Set<{ untilMs: number; wake: () => void }>()
  let begun = Promise.withResolvers<number>()
  return {
    waits,
    nowMs: () => epochMs + passedMs,
    monotonicMs: () => passedMs,
    wait(ms, signal) {
      if (signal?.aborted) return Promise.resolve()
      waits.push(ms)
      const before = begun
      begun = Promise.withResolvers()
      before.resolve(ms)
      return new Promise((resolve) => {
        const sleeper = {
          untilMs: passedMs + ms,
          wake() {
            sleepers.delete(sleeper)
            resolve()
          },
        }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', sleeper.wake, { once: true })
      })
    },
    async advance(ms) {
      await settle()
      passedMs += ms
      for (const sleeper of [...sleepers]) if (sleeper.untilMs <= passedMs) sleeper.wake()
      await settle()
    },
    nextWait: () => begun.promise,
  }
}

/** What was just begun or woken may have to pass a few promises before it waits. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve))
}
