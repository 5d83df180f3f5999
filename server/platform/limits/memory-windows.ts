import { SlidingWindow, type WindowState } from './sliding-window.ts'
import type { WindowRule, Windows } from './windows.ts'

/** About 40 MB when all are in use: who holds a /48 of IPv6 has 65,536 of the networks that are counted apart. */
const defaultMaxKeys = 100_000
const sweepEveryMs = 1000
/** The one window of those who came when all places were taken; no subject is called so. */
const elsewhere = ''

/** They answer at once. */
export interface MemoryWindows extends Windows {
  hit(rules: readonly WindowRule[]): readonly WindowState[]
}

/**
 * Exact sliding windows in this process; rules of one name are of one length. Its memory is bounded: a subject that is new when all places are taken shares one window with all
 * others that are, so that a flood of addresses is refused and those who were there before are not.
 */
export function createMemoryWindows(now: () => number, maxKeys = defaultMaxKeys): MemoryWindows {
  const windows = new Map<string, SlidingWindow>()
  let sweptAt = Number.NEGATIVE_INFINITY

  function windowOf({ name, windowMs }: WindowRule): SlidingWindow {
    const known = windows.get(name)
    if (known !== undefined) return known
    const window = new SlidingWindow(windowMs)
    windows.set(name, window)
    return window
  }
  function sweep(): void {
    sweptAt = now()
    for (const window of windows.values()) window.sweep(sweptAt)
  }
  function keyOf(window: SlidingWindow, { subject }: WindowRule): string {
    if (window.size < maxKeys || window.has(subject)) return subject
    if (Math.abs(now() - sweptAt) >= sweepEveryMs) sweep()
    return window.size < maxKeys ? subject : elsewhere
  }

  return {
    hit(rules) {
      const at = now()
      let isRefused = false
      const states: WindowState[] = []
      // A loop, for every request comes through here: half the cost of a map and an every (P8).
      for (const rule of rules) {
        const window = windowOf(rule)
        const state = window.hit(keyOf(window, rule), rule.limit, at)
        if (!state.allowed) isRefused = true
        states.push(state)
      }
      return isRefused ? takeBack(rules, states) : states
    },
    state: 'memory',
    sweep,
    async close() {},
  }

  /** One window was full: what the others counted was no request. */
  function takeBack(rules: readonly WindowRule[], states: readonly WindowState[]): WindowState[] {
    return states.map((state, i) => {
      const rule = rules[i]
      if (!state.allowed || rule === undefined) return state
      const window = windowOf(rule)
      window.takeBack(keyOf(window, rule))
      return { ...state, remaining: state.remaining + 1 }
    })
  }
}
