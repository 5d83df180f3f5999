import type { WindowState } from './sliding-window.ts'

/** One window that a request counts in: `subject` is whom it counts. */
export interface WindowRule {
  /** The policy's name, as clients read it. */
  readonly name: string
  readonly subject: string
  readonly limit: number
  readonly windowMs: number
}

/** `shared`: all replicas count together. `degraded`: they should, but Redis does not answer, and each counts its part by itself. */
export type WindowsState = 'memory' | 'shared' | 'degraded'

/** Where requests are counted. A request counts in all its windows or, when one of them is full, in none. */
export interface Windows {
  /** The state of each window, in the order of the rules; at once where nothing has to be asked. Never rejects, and never lets through what it could not count. */
  hit(rules: readonly WindowRule[]): readonly WindowState[] | Promise<readonly WindowState[]>
  readonly state: WindowsState
  /** Gives back the memory of what has left its window; called on a timer. */
  sweep(): void
  close(): Promise<void>
}
