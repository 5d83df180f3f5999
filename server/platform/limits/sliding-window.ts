/** The answer to one hit: how many are left in the window, and in how many ms the next place frees up. */
export interface WindowState {
  allowed: boolean
  limit: number
  remaining: number
  resetMs: number
}

interface Hits {
  /** A ring of the times of the accepted hits. */
  readonly times: Float64Array
  head: number
  count: number
}

/**
 * An exact sliding window: never more than `limit` accepted hits in any `windowMs`, also across a minute's edge.
 * A refused hit is not counted, so a client that waits `resetMs` gets through. Memory: 8 bytes per accepted hit still in its window.
 */
export class SlidingWindow {
  readonly #hits = new Map<string, Hits>()
  readonly #windowMs: number

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  hit(key: string, limit: number, now: number): WindowState {
    let hits = this.#hits.get(key)
    if (hits === undefined || hits.times.length !== limit) {
      hits = resized(hits, limit)
      this.#hits.set(key, hits)
    }
    while (hits.count > 0 && (hits.times[hits.head] ?? 0) <= now - this.#windowMs) {
      hits.head = (hits.head + 1) % limit
      hits.count--
    }
    const allowed = hits.count < limit
    if (allowed) hits.times[(hits.head + hits.count++) % limit] = now
    const oldest = hits.times[hits.head] ?? now
    return { allowed, limit, remaining: limit - hits.count, resetMs: Math.max(0, oldest + this.#windowMs - now) }
  }

  /** Forgets keys whose hits have all left the window; called on a timer. */
  sweep(now: number): void {
    for (const [key, hits] of this.#hits) {
      const newest = hits.times[(hits.head + hits.count - 1 + hits.times.length) % hits.times.length] ?? 0
      if (hits.count === 0 || newest <= now - this.#windowMs) this.#hits.delete(key)
    }
  }

  get size(): number {
    return this.#hits.size
  }
}

/** A changed limit keeps the newest hits, so that raising or lowering it forgives nobody. */
function resized(old: Hits | undefined, limit: number): Hits {
  const hits: Hits = { times: new Float64Array(limit), head: 0, count: 0 }
  if (old === undefined) return hits
  for (let i = Math.max(0, old.count - limit); i < old.count; i++) {
    hits.times[hits.count++] = old.times[(old.head + i) % old.times.length] ?? 0
  }
  return hits
}
