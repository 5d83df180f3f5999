/** AWS's "full jitter": after a restart of the server a fleet comes back spread out instead of all at once. */
const firstMs = 500
const longestMs = 30_000

export interface Backoff {
  /** The next pause in milliseconds: a random part of 0.5 s, 1 s, 2 s … 30 s. */
  next(): number
  reset(): void
}

/** Pauses between attempts at a server that is away; `fraction` is a number in [0, 1). */
export function createBackoff(fraction: () => number): Backoff {
  let attempt = 0
  return {
    next() {
      const ceilingMs = Math.min(longestMs, firstMs * 2 ** attempt)
      attempt = Math.min(attempt + 1, 16)
      return Math.round(fraction() * ceilingMs)
    },
    reset() {
      attempt = 0
    },
  }
}
