/** A generator that gives the same numbers for the same seed: a fault that found something can be made again. */
export interface Random {
  /** In [0, 1). */
  fraction(): number
  /** A whole number from 0 to below `count`. */
  below(count: number): number
  between(from: number, to: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  shuffle<T>(items: readonly T[]): T[]
  /** A generator of its own for one part: how often one part draws does not change what another draws. */
  fork(name: string): Random
}

/** mulberry32: 32 bits of state, all that a schedule needs (https://github.com/cprosche/mulberry32). */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (count: number): number => Math.floor(fraction() * count)
  const random: Random = {
    fraction,
    below,
    between: (from, to) => from + below(to - from + 1),
    chance: (probability) => fraction() < probability,
    pick(items) {
      const item = items[below(items.length)]
      if (item === undefined) throw new RangeError('a choice among nothing')
      return item
    },
    shuffle(items) {
      const rest = [...items]
      return items.flatMap(() => rest.splice(below(rest.length), 1))
    },
    fork: (name) => createRandom(seed ^ hashOf(name)),
  }
  return random
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash
}
