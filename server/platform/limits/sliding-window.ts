/** The answer to one hit: how many are left in the window, and in how many ms the next place frees up. */
export interface WindowState {
  allowed: boolean
  limit: number
  remaining: number
  resetMs: number
}

/** A ring of the times of the accepted hits, oldest first from `head`. */
interface Hits {
  times: Float64Array
  head: number
  count: number
}

/** A power of two, as every later size: most keys never need more. */
const firstSize = 8

/**
 * An exact sliding window: never more than `limit` accepted hits in any `windowMs`, also across a minute's edge and when the limit changes.
 * A refused hit is not counted, so a client that waits `resetMs` gets through. Memory: at most 16 bytes per accepted hit still in its window.
 */
export class SlidingWindow {
  readonly #hits = new Map<string, Hits>()
  readonly #windowMs: number

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  hit(key: string, limit: number, now: number): WindowState {
    let hits = this.#hits.get(key)
    if (hits === undefined) {
      hits = { times: new Float64Array(firstSize), head: 0, count: 0 }
      this.#hits.set(key, hits)
    }
    if (hits.count > 0 && timeAt(hits, hits.count - 1) > now) moveBack(hits, now)
    while (hits.count > 0 && timeAt(hits, 0) <= now - this.#windowMs) {
      hits.head = (hits.head + 1) & (hits.times.length - 1)
      hits.count--
    }
    const allowed = hits.count < limit
    if (allowed) add(hits, now)
    // Where the limit was lowered, the oldest hit makes no room: enough of them have to leave.
    const leaving = hits.count > limit ? Math.min(hits.count - limit, hits.count - 1) : 0
    const resetMs = hits.count === 0 ? this.#windowMs : timeAt(hits, leaving) + this.#windowMs - now
    return { allowed, limit, remaining: Math.max(0, limit - hits.count), resetMs }
  }

  /** Takes the latest accepted hit back: for a request that counts in several windows, or in none of them. */
  takeBack(key: string): void {
    const hits = this.#hits.get(key)
    if (hits !== undefined && hits.count > 0) hits.count--
  }

  /** Forgets keys whose hits have all left the window; called on a timer. */
  sweep(now: number): void {
    for (const [key, hits] of this.#hits) {
      if (hits.count === 0 || timeAt(hits, hits.count - 1) <= now - this.#windowMs) this.#hits.delete(key)
    }
  }

  has(key: string): boolean {
    return this.#hits.has(key)
  }

  get size(): number {
    return this.#hits.size
  }
}

function timeAt(hits: Hits, index: number): number {
  return hits.times[(hits.head + index) & (hits.times.length - 1)] ?? 0
}

function add(hits: Hits, now: number): void {
  if (hits.count === hits.times.length) {
    const times = new Float64Array(hits.times.length * 2)
    for (let i = 0; i < hits.count; i++) times[i] = timeAt(hits, i)
    hits.times = times
    hits.head = 0
  }
  hits.times[(hits.head + hits.count++) & (hits.times.length - 1)] = now
}

/** The clock was set back: hits from what is now the future count as just made, else they would lock their key until then. */
function moveBack(hits: Hits, now: number): void {
  for (let i = hits.count - 1; i >= 0 && timeAt(hits, i) > now; i--) {
    hits.times[(hits.head + i) & (hits.times.length - 1)] = now
  }
}
