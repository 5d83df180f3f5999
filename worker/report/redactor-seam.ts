import type { PatternAutomaton } from './pattern-automaton.ts'
import { minSecretLength } from './secret-values.ts'

/** Cuts these bytes of its stream out. */
export type Mark = (from: number, to: number) => void

interface Run {
  readonly mark: Mark
  from: number
  to: number
}

/**
 * Follows several streams in the order in which they were written, for values that begin in one of them and go on in another. Only
 * the bytes that may still become part of a value are remembered.
 */
export class Seam {
  readonly #values: PatternAutomaton
  #state = 0
  /** The last bytes of all streams, as far as the state is deep. */
  #runs: Run[] = []
  #length = 0

  constructor(values: PatternAutomaton) {
    this.#values = values
  }

  /** The next byte, which lies at `at` of the stream that `mark` belongs to. */
  take(byte: number, at: number, mark: Mark): void {
    if (this.#state === 0 && !this.#values.begins(byte)) return
    this.#state = this.#values.next(this.#state, byte)
    const last = this.#runs.at(-1)
    if (last?.mark === mark && last.to === at) last.to++
    else this.#runs.push({ mark, from: at, to: at + 1 })
    this.#length++
    const found = this.#values.longest(this.#state)
    if (found > 0) this.#markLast(found)
    this.#forget(this.#length - this.#values.depth(this.#state))
  }

  /** From where on nothing of this stream may be shown yet. */
  heldFrom(mark: Mark): number {
    return this.#runs.find((run) => run.mark === mark)?.from ?? Number.POSITIVE_INFINITY
  }

  /** Nothing follows, or something is missing in between: the beginning of a value is cut out as the whole is. */
  end(): void {
    if (this.#length >= minSecretLength) this.#markLast(this.#length)
    this.#state = 0
    this.#runs = []
    this.#length = 0
  }

  #markLast(bytes: number): void {
    // A value within one stream is that stream's own business, and marked there.
    if (this.#runs.length === 1) return
    let left = bytes
    for (let at = this.#runs.length - 1; at >= 0 && left > 0; at--) {
      const run = this.#runs[at]
      if (run === undefined) return
      const from = Math.max(run.from, run.to - left)
      run.mark(from, run.to)
      left -= run.to - from
    }
  }

  #forget(bytes: number): void {
    let left = bytes
    let gone = 0
    for (; left > 0; gone++) {
      const run = this.#runs[gone]
      if (run === undefined) break
      if (run.to - run.from > left) {
        run.from += left
        break
      }
      left -= run.to - run.from
    }
    if (gone > 0) this.#runs.splice(0, gone)
    this.#length -= bytes
  }
}
