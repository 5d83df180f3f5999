import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  consistencyRanges,
  createCompactRange,
  emptyRoot,
  foldSubtrees,
  inclusionRanges,
  isConsistent,
  isIncluded,
  type LeafRange,
  leafHash,
  subtreesOf,
} from './merkle.ts'

// The definitions of RFC 6962 §2.1, word for word, and as slow as they are: what everything else is held against.
const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest()
const split = (size: number): number => 2 ** Math.ceil(Math.log2(size) - 1)
const naiveRoot = (leaves: readonly Buffer[]): Buffer => {
  if (leaves.length === 0) return sha256()
  if (leaves.length === 1) return sha256(Buffer.from([0]), leaves[0] as Buffer)
  const k = split(leaves.length)
  return sha256(Buffer.from([1]), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)))
}
const naivePath = (m: number, leaves: readonly Buffer[]): Buffer[] => {
  if (leaves.length <= 1) return []
  const k = split(leaves.length)
  return m < k
    ? [...naivePath(m, leaves.slice(0, k)), naiveRoot(leaves.slice(k))]
    : [...naivePath(m - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))]
}
const naiveSubproof = (m: number, leaves: readonly Buffer[], isWhole: boolean): Buffer[] => {
  if (m === leaves.length) return isWhole ? [] : [naiveRoot(leaves)]
  const k = split(leaves.length)
  return m <= k
    ? [...naiveSubproof(m, leaves.slice(0, k), isWhole), naiveRoot(leaves.slice(k))]
    : [...naiveSubproof(m - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))]
}

const most = 300
const data = Array.from({ length: most }, (_, index) => Buffer.from(`leaf ${index}`))
const leaves = data.map((each) => leafHash(each))
const roots = Array.from({ length: most + 1 }, (_, size) => naiveRoot(data.slice(0, size)))
const rootOf = (size: number): Buffer => roots[size] as Buffer
const leafOf = (index: number): Buffer => leaves[index] as Buffer
const hashOf = ({ start, end }: LeafRange): Buffer =>
  foldSubtrees(
    subtreesOf({ start, end }).map(({ height, index }) =>
      naiveRoot(data.slice(index * 2 ** height, (index + 1) * 2 ** height)),
    ),
  )
const sizes = fc.integer({ min: 1, max: most })

test('the empty tree, one leaf and two have the roots that RFC 6962 gives them', () => {
  assert.equal(emptyRoot.toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  // The tree of RFC 6962 implementations' test vectors: an empty leaf, then the byte 0.
  assert.equal(leafHash('').toString('hex'), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d')
  const range = createCompactRange()
  range.append(leafHash(''))
  range.append(leafHash(Buffer.from([0])))
  assert.equal(range.root().toString('hex'), 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125')
})

test('a tree that grows leaf by leaf has the defined root at every size to 300, from wherever it is taken up', () => {
  const range = createCompactRange()
  for (let size = 0; size <= most; size++) {
    assert.deepEqual(range.root(), rootOf(size))
    assert.deepEqual(createCompactRange(size, range.hashes).root(), rootOf(size))
    if (size < most) range.append(leafOf(size))
  }
  assert.throws(() => createCompactRange(3, [leafOf(0)]), RangeError)
})

test('every complete subtree is told once, when its last leaf comes', () => {
  const told: string[] = []
  const range = createCompactRange(0, [], ({ height, index }, root) => {
    told.push(`${height} ${index}`)
    assert.deepEqual(root, naiveRoot(data.slice(index * 2 ** height, (index + 1) * 2 ** height)))
    assert.equal(range.size + 1, (index + 1) * 2 ** height)
  })
  for (const leaf of leaves.slice(0, 256)) range.append(leaf)
  assert.equal(told.length, 255)
  assert.equal(new Set(told).size, 255)
  assert.equal(told.at(-1), '8 0')
})

test('every inclusion proof is the defined one and proves its leaf, and no other leaf, place, size or root', () => {
  const shapes = sizes.chain((size) =>
    fc.record({ size: fc.constant(size), index: fc.nat(size - 1), other: fc.nat(most - 1) }),
  )
  fc.assert(
    fc.property(shapes, ({ size, index, other }) => {
      const proof = inclusionRanges(index, size).map(hashOf)
      assert.deepEqual(proof, naivePath(index, data.slice(0, size)))
      const claim = { index, size, leaf: leafOf(index), root: rootOf(size), proof }
      assert.ok(isIncluded(claim))
      if (other !== index) {
        assert.ok(!isIncluded({ ...claim, leaf: leafOf(other) }))
        assert.ok(!isIncluded({ ...claim, index: other }))
      }
      if (other + 1 !== size) assert.ok(!isIncluded({ ...claim, root: rootOf(other + 1) }))
      assert.ok(!isIncluded({ ...claim, proof: [...proof, leafOf(0)] }))
      if (proof.length > 0) assert.ok(!isIncluded({ ...claim, proof: proof.slice(1) }))
    }),
    { numRuns: 300 },
  )
  assert.throws(() => inclusionRanges(3, 3), RangeError)
  assert.ok(!isIncluded({ index: 0, size: 0, leaf: leafOf(0), root: emptyRoot, proof: [] }))
})

test('every consistency proof is the defined one and proves that the newer tree begins with the older, and nothing else', () => {
  const shapes = sizes.chain((to) =>
    fc.record({ to: fc.constant(to), from: fc.integer({ min: 1, max: to }), other: sizes }),
  )
  fc.assert(
    fc.property(shapes, ({ from, to, other }) => {
      const proof = consistencyRanges(from, to).map(hashOf)
      assert.deepEqual(proof, from === to ? [] : naiveSubproof(from, data.slice(0, to), true))
      const claim = { from, to, fromRoot: rootOf(from), toRoot: rootOf(to), proof }
      assert.ok(isConsistent(claim))
      if (other !== from) assert.ok(!isConsistent({ ...claim, fromRoot: rootOf(other) }))
      if (other !== to) assert.ok(!isConsistent({ ...claim, toRoot: rootOf(other) }))
      if (from !== to) assert.ok(!isConsistent({ ...claim, proof: [...proof, leafOf(0)] }))
      if (proof.length > 0) assert.ok(!isConsistent({ ...claim, proof: proof.slice(0, -1) }))
    }),
    { numRuns: 300 },
  )
  assert.ok(isConsistent({ from: 0, to: 5, fromRoot: emptyRoot, toRoot: rootOf(5), proof: [] }))
  assert.ok(!isConsistent({ from: 0, to: 5, fromRoot: rootOf(1), toRoot: rootOf(5), proof: [] }))
  assert.ok(!isConsistent({ from: 5, to: 4, fromRoot: rootOf(5), toRoot: rootOf(4), proof: [] }))
  assert.throws(() => consistencyRanges(5, 4), RangeError)
})

test('all proofs of all sizes to 64 hold', () => {
  for (let size = 1; size <= 64; size++) {
    for (let at = 0; at < size; at++) {
      const inclusion = inclusionRanges(at, size).map(hashOf)
      assert.ok(isIncluded({ index: at, size, leaf: leafOf(at), root: rootOf(size), proof: inclusion }))
      const consistency = consistencyRanges(at, size).map(hashOf)
      assert.ok(isConsistent({ from: at, to: size, fromRoot: rootOf(at), toRoot: rootOf(size), proof: consistency }))
    }
  }
})
