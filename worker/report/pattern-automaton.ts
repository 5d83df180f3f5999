/**
 * Finds any of many byte strings in a stream, a byte at a time (Aho and Corasick, 1975). A state is a number: 0 is the start, any other stands for the longest
 * beginning of a pattern that the bytes so far end with. Every byte costs a bounded number of steps on average, whatever is looked for and found.
 */
export class PatternAutomaton {
  /** States by the byte that leads to them: the children of a state are a list through `sibling`. */
  readonly #child: Int32Array
  readonly #sibling: Int32Array
  readonly #byte: Uint8Array
  readonly #fail: Int32Array
  readonly #depth: Int32Array
  /** One more than the number of the pattern that ends in this state; 0 where none does. */
  readonly #pattern: Int32Array
  /** The nearest state on the way of failures, this one included, in which a pattern ends; 0 where there is none. */
  readonly #ending: Int32Array
  readonly #fromStart = new Int32Array(256)
  #size = 1
  /** Comparisons made so far: what a test of the cost counts. */
  steps = 0

  constructor(patterns: readonly Uint8Array[]) {
    const capacity = patterns.reduce((sum, { length }) => sum + length, 1)
    const column = () => new Int32Array(capacity)
    this.#child = column()
    this.#sibling = column()
    this.#byte = new Uint8Array(capacity)
    this.#fail = column()
    this.#depth = column()
    this.#pattern = column()
    this.#ending = column()
    for (const [number, pattern] of patterns.entries()) this.#add(pattern, number)
    this.#link()
  }

  /** Whether a pattern begins with this byte. */
  begins(byte: number): boolean {
    return this.#fromStart[byte] !== 0
  }

  next(state: number, byte: number): number {
    for (let at = state; at !== 0; at = this.#fail[at] ?? 0) {
      const found = this.#findChild(at, byte)
      if (found !== 0) return found
    }
    this.steps++
    return this.#fromStart[byte] ?? 0
  }

  /** How many of the last bytes could still become a pattern. */
  depth(state: number): number {
    return this.#depth[state] ?? 0
  }

  /** The length of the longest pattern that ends here; 0 where none does. */
  longest(state: number): number {
    return this.depth(this.#ending[state] ?? 0)
  }

  /** The numbers of all patterns that end here. */
  patternsAt(state: number): number[] {
    const found: number[] = []
    for (let at = this.#ending[state] ?? 0; at !== 0; at = this.#ending[this.#fail[at] ?? 0] ?? 0)
      found.push((this.#pattern[at] ?? 0) - 1)
    return found
  }

  #findChild(state: number, byte: number): number {
    let child = this.#child[state] ?? 0
    while (child !== 0 && this.#byte[child] !== byte) {
      this.steps++
      child = this.#sibling[child] ?? 0
    }
    this.steps++
    return child
  }

  #add(pattern: Uint8Array, number: number): void {
    let state = 0
    for (const byte of pattern) {
      let next = state === 0 ? (this.#fromStart[byte] ?? 0) : this.#findChild(state, byte)
      if (next === 0) {
        next = this.#size++
        this.#byte[next] = byte
        this.#depth[next] = this.depth(state) + 1
        if (state === 0) this.#fromStart[byte] = next
        this.#sibling[next] = this.#child[state] ?? 0
        this.#child[state] = next
      }
      state = next
    }
    this.#pattern[state] = number + 1
  }

  /** Sets where each state goes on when none of its children fits, from the shallow to the deep. */
  #link(): void {
    const queue = new Int32Array(this.#size)
    let filled = 1 // the first is the start
    for (let at = 0; at < filled; at++) {
      const state = queue[at] ?? 0
      const ends = this.#pattern[state] !== 0
      this.#ending[state] = ends && state !== 0 ? state : (this.#ending[this.#fail[state] ?? 0] ?? 0)
      for (let child = this.#child[state] ?? 0; child !== 0; child = this.#sibling[child] ?? 0) {
        queue[filled++] = child
        this.#fail[child] = state === 0 ? 0 : this.next(this.#fail[state] ?? 0, this.#byte[child] ?? 0)
      }
    }
    this.steps = 0
  }
}
