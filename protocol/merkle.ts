import { hash } from 'node:crypto'

/** Half-open: the leaves from `start` up to but without `end`. */
export interface LeafRange {
  readonly start: number
  readonly end: number
}

/** The complete subtree over the leaves from `index × 2^height` up to but without `(index + 1) × 2^height`. */
export interface Subtree {
  readonly height: number
  readonly index: number
}

const leafPrefix = Buffer.from([0])
const nodePrefix = Buffer.from([1])

/** The root of a tree without leaves (RFC 6962 §2.1). */
export const emptyRoot = hash('sha256', '', 'buffer')

/** The hash of a leaf (RFC 6962 §2.1): its prefix keeps it from ever being that of a node. */
export function leafHash(data: string | Uint8Array): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data
  return hash('sha256', Buffer.concat([leafPrefix, bytes]), 'buffer')
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([nodePrefix, left, right]), 'buffer')
}

/** The complete subtrees, left to right, that a range is hashed from; the range must be one that RFC 6962 §2.1 splits a tree into, as those of proofs are. */
export function subtreesOf({ start, end }: LeafRange): Subtree[] {
  const subtrees: Subtree[] = []
  for (let from = start; from < end; ) {
    const height = Math.floor(Math.log2(end - from))
    subtrees.push({ height, index: from / 2 ** height })
    from += 2 ** height
  }
  return subtrees
}

/** The root over the hashes of `subtreesOf`, in their order. */
export function foldSubtrees(hashes: readonly Buffer[]): Buffer {
  return hashes.length === 0 ? emptyRoot : hashes.reduceRight((right, left) => nodeHash(left, right))
}

/** Grows a tree leaf by leaf, holding no more than its complete subtrees (at most one per bit of its size). */
export interface CompactRange {
  readonly size: number
  /** Hashes of `subtreesOf` the whole. */
  readonly hashes: readonly Buffer[]
  append(leaf: Buffer): void
  root(): Buffer
}

/** Starts from the hashes of the subtrees of a tree of `size`; `onSubtree` hears of every one that a leaf completes, smallest first. */
export function createCompactRange(
  size = 0,
  hashes: readonly Buffer[] = [],
  onSubtree: (subtree: Subtree, root: Buffer) => void = () => {},
): CompactRange {
  if (hashes.length !== subtreesOf({ start: 0, end: size }).length)
    throw new RangeError('a compact range has one hash for each complete subtree')
  const stack = [...hashes]
  let count = size
  return {
    get size() {
      return count
    },
    get hashes() {
      return stack
    },
    append(leaf) {
      let root = leaf
      let height = 0
      // As many subtrees are completed as the old size has ones at its end.
      for (let rest = count; rest % 2 === 1; rest = (rest - 1) / 2) {
        const left = stack.pop()
        if (left === undefined) throw new RangeError('a compact range lost a subtree')
        root = nodeHash(left, root)
        height++
        onSubtree({ height, index: (rest - 1) / 2 }, root)
      }
      stack.push(root)
      count++
    },
    root: () => foldSubtrees(stack),
  }
}

const largestPowerBelow = (size: number): number => {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}

/** The ranges whose hashes prove the leaf at `index` in a tree of `size` (RFC 6962 §2.1.1), in the order of the proof. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!(index >= 0 && index < size)) throw new RangeError('the tree has no such leaf')
  const ranges: LeafRange[] = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = start + largestPowerBelow(end - start)
    if (index < middle) {
      ranges.unshift({ start: middle, end })
      end = middle
    } else {
      ranges.unshift({ start, end: middle })
      start = middle
    }
  }
  return ranges
}

/** The ranges whose hashes prove that a tree of `to` leaves begins with that of `from` (RFC 6962 §2.1.2); none where one of them is empty or both are the same. */
export function consistencyRanges(from: number, to: number): LeafRange[] {
  if (!(from >= 0 && from <= to)) throw new RangeError('a tree does not shrink')
  if (from === 0 || from === to) return []
  const ranges: LeafRange[] = []
  let [start, end] = [0, to]
  // Whoever checks the proof has the old root; it is left out while it is a subtree of the new tree.
  let isOldRoot = true
  while (end !== from) {
    const middle = start + largestPowerBelow(end - start)
    if (from <= middle) {
      ranges.unshift({ start: middle, end })
      end = middle
    } else {
      ranges.unshift({ start, end: middle })
      start = middle
      isOldRoot = false
    }
  }
  return isOldRoot ? ranges : [{ start, end }, ...ranges]
}

/** Whether the proof shows that the tree of that size and root has this leaf at this index (RFC 9162 §2.1.3.2). */
export function isIncluded(claim: {
  index: number
  size: number
  leaf: Buffer
  root: Buffer
  proof: readonly Buffer[]
}): boolean {
  if (!(claim.index >= 0 && claim.index < claim.size)) return false
  let [at, last, computed] = [claim.index, claim.size - 1, claim.leaf]
  for (const sibling of claim.proof) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      computed = nodeHash(sibling, computed)
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, half(last)]
    } else computed = nodeHash(computed, sibling)
    at = half(at)
    last = half(last)
  }
  return last === 0 && computed.equals(claim.root)
}

/** Whether the proof shows that the newer tree begins with the older one (RFC 9162 §2.1.4.2): nothing of it was changed, moved or taken out. */
export function isConsistent(claim: {
  from: number
  to: number
  fromRoot: Buffer
  toRoot: Buffer
  proof: readonly Buffer[]
}): boolean {
  const { from, to, fromRoot, toRoot } = claim
  if (!(from >= 0 && from <= to)) return false
  if (from === to) return claim.proof.length === 0 && fromRoot.equals(toRoot)
  if (from === 0) return claim.proof.length === 0 && fromRoot.equals(emptyRoot)
  const isSubtree = Number.isInteger(Math.log2(from))
  const [first, ...rest] = isSubtree ? [fromRoot, ...claim.proof] : claim.proof
  if (first === undefined) return false
  let [at, last] = [from - 1, to - 1]
  while (at % 2 === 1) [at, last] = [half(at), half(last)]
  let [older, newer] = [first, first]
  for (const sibling of rest) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      older = nodeHash(sibling, older)
      newer = nodeHash(sibling, newer)
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, half(last)]
    } else newer = nodeHash(newer, sibling)
    at = half(at)
    last = half(last)
  }
  return last === 0 && older.equals(fromRoot) && newer.equals(toRoot)
}

const half = (value: number): number => Math.floor(value / 2)
