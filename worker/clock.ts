/** Where time comes from; tests bring their own. */
export interface Clock {
  /** Epoch milliseconds; may jump. */
  nowMs(): number
  /** Milliseconds that never jump; the origin means nothing. Stands still while the machine sleeps. */
  monotonicMs(): number
  /** Resolves after `ms`, or at once when the signal is or becomes aborted; the caller asks the signal which it was. */
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  wait(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal?.addEventListener('abort', end)
    })
  },
}
