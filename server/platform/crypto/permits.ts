/** Too many callers wait already, or this one waited until its deadline; nothing was done. */
export class Overloaded extends Error {
  override name = 'Overloaded'
  readonly reason: 'queue_full' | 'deadline'
  readonly retryAfterSeconds: number
  constructor(reason: 'queue_full' | 'deadline', retryAfterSeconds: number) {
    super(`overloaded: ${reason}`)
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export interface Permits {
  /** Runs the work when a permit is free, in order of arrival; throws `Overloaded` without running it otherwise. */
  run<T>(work: () => Promise<T>): Promise<T>
  readonly load: { running: number; waiting: number }
}

/** A semaphore with a bounded queue; the deadline is for waiting only, work once begun runs to its end. */
export function createPermits(limits: { permits: number; maxQueued: number; deadlineMs: number }): Permits {
  const { permits, maxQueued, deadlineMs } = limits
  if (!(permits >= 1)) throw new RangeError('at least one permit is needed')
  const retryAfterSeconds = Math.max(1, Math.ceil(deadlineMs / 1000))
  const waiting = new Set<() => void>()
  let running = 0

  function acquire(): Promise<void> {
    if (running < permits) {
      running++
      return Promise.resolve()
    }
    if (waiting.size >= maxQueued) return Promise.reject(new Overloaded('queue_full', retryAfterSeconds))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      waiting.delete(proceed)
      reject(new Overloaded('deadline', retryAfterSeconds))
    }, deadlineMs)
    const proceed = () => {
      clearTimeout(timer)
      resolve()
    }
    waiting.add(proceed)
    return promise
  }

  /** Hands the permit to the next in line instead of freeing it, so that a newcomer cannot overtake. */
  function release(): void {
    const [next] = waiting
    if (next === undefined) {
      running--
      return
    }
    waiting.delete(next)
    next()
  }

  return {
    async run(work) {
      await acquire()
      try {
        return await work()
      } finally {
        release()
      }
    },
    get load() {
      return { running, waiting: waiting.size }
    },
  }
}
