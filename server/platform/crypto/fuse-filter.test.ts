import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildFuseFilter, type FuseFilter, hasKey } from './fuse-filter.ts'
import { sha256Hex } from './hash.ts'

/** Keys that look random and are the same in every run. */
function keysOf(name: string, count: number): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.from({ length: count }, (_, index) => BigInt(`0x${sha256Hex(`${name} ${index}`).slice(0, 16)}`))
}

function countIn(filter: FuseFilter, keys: BigUint64Array): number {
  return keys.reduce((count, key) => count + (hasKey(filter, key) ? 1 : 0), 0)
}

test('every key that went in is found, whatever the size', () => {
  for (const count of [1, 2, 3, 10, 100, 1_000, 30_000]) {
    const keys = keysOf('in', count)
    assert.equal(countIn(buildFuseFilter(keys.slice()), keys), count)
  }
})

test('every key is found, whatever keys they are', () => {
  const anyKeys = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 200 })
  fc.assert(
    fc.property(anyKeys, (keys) => {
      const filter = buildFuseFilter(BigUint64Array.from(keys))
      assert.ok(keys.every((key) => hasKey(filter, key)))
      assert.equal(filter.entries, new Set(keys).size)
    }),
  )
})

test('keys that differ in one bit are told apart, and an empty filter has none', () => {
  const near = BigUint64Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
  assert.equal(countIn(buildFuseFilter(near.slice()), near), 64)
  assert.equal(countIn(buildFuseFilter(new BigUint64Array()), keysOf('out', 1_000)), 0)
})

test('a key that is not in it is taken for one that is about once in 65,536 times', () => {
  const filter = buildFuseFilter(keysOf('in', 20_000))
  const strangers = 400_000
  // Expected are 6.1; that 25 or more come by chance happens once in 10⁸ sets of keys, and these are always the same.
  assert.ok(countIn(filter, keysOf('out', strangers)) < 25)
})

test('the same set gives the same bits, in whatever order and however often its keys come', () => {
  const keys = keysOf('in', 5_000)
  const shuffled = BigUint64Array.from([...keys.toReversed(), ...keys])
  assert.deepEqual(buildFuseFilter(shuffled), buildFuseFilter(keys))
})

test('a large filter takes 18 bits an entry', () => {
  const filter = buildFuseFilter(keysOf('in', 200_000))
  const bits = (filter.fingerprints.length * 16) / filter.entries
  assert.ok(bits < 19, String(bits))
})
