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

export interface Work {
  /** Its share of the budget. What is larger than the whole budget runs too, alone. */
  size?: number
  /** Who asks: one source may fill no more than its share of the queue. */
  source?: string | null
}

export interface Permits {
  /** Runs the work when a permit and its share of the budget are free, in order of arrival; throws `Overloaded` without running it otherwise. */
  run<T>(work: () => Promise<T>, of?: Work): Promise<T>
  readonly load: { running: number; waiting: number }
}

export interface PermitLimits {
  permits: number
  maxQueued: number
  deadlineMs: number
  /** What all that runs at once may have in sum, in the unit of `size`; unbounded unless given. */
  budget?: number
  /** How many of one source may wait; all of them unless given. */
  maxQueuedPerSource?: number
}

interface Waiting {
  size: number
  source: string | null
  proceed: () => void
}

/** A semaphore with a bounded queue; the deadline is for waiting only, work once begun runs to its end. */
export function createPermits(limits: PermitLimits): Permits {
  const { permits, maxQueued, deadlineMs, budget = Infinity, maxQueuedPerSource = maxQueued } = limits
  if (!(permits >= 1)) throw new RangeError('at least one permit is needed')
  const retryAfterSeconds = Math.max(1, Math.ceil(deadlineMs / 1000))
  const waiting = new Set<Waiting>()
  const queued = new Map<string, number>()
  let running = 0
  let spent = 0

  function fits(size: number): boolean {
    return running === 0 || (running < permits && spent + size <= budget)
  }

  function begin(size: number): void {
    running++
    spent += size
  }

  function join(entry: Waiting): void {
    waiting.add(entry)
    if (entry.source !== null) queued.set(entry.source, (queued.get(entry.source) ?? 0) + 1)
  }

  function leave(entry: Waiting): void {
    waiting.delete(entry)
    if (entry.source === null) return
    const left = (queued.get(entry.source) ?? 0) - 1
    if (left > 0) queued.set(entry.source, left)
    else queued.delete(entry.source)
  }

  function acquire(size: number, source: string | null): Promise<void> {
    // Nobody overtakes who waits, not even something small that would fit.
    if (waiting.size === 0 && fits(size)) {
      begin(size)
      return Promise.resolve()
    }
    const isCrowd = source !== null && (queued.get(source) ?? 0) >= maxQueuedPerSource
    if (waiting.size >= maxQueued || isCrowd) return Promise.reject(new Overloaded('queue_full', retryAfterSeconds))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      leave(entry)
      reject(new Overloaded('deadline', retryAfterSeconds))
      // Those behind something large may fit where it did not.
      admit()
    }, deadlineMs)
    const entry: Waiting = {
      size,
      source,
      proceed: () => {
        clearTimeout(timer)
        resolve()
      },
    }
    join(entry)
    return promise
  }

  /** Hands what is free to the next in line, in order, so that a newcomer cannot overtake. */
  function admit(): void {
    for (const entry of waiting) {
      if (!fits(entry.size)) return
      leave(entry)
      begin(entry.size)
      entry.proceed()
    }
  }

  return {
    async run(work, { size = 0, source = null } = {}) {
      await acquire(size, source)
      try {
        return await work()
      } finally {
        running--
        spent -= size
        admit()
      }
    },
    get load() {
      return { running, waiting: waiting.size }
    },
  }
}
