import { endianness } from 'node:os'

/**
 * A set of 64-bit keys that can only be asked for membership: `has` is true for every key it was built from, and for another one with a chance of
 * 2⁻¹⁶. A 3-wise binary fuse filter with 16-bit fingerprints: Graf & Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", ACM JEA 27 (2022).
 */
export interface FuseFilter {
  readonly seed: number
  /** A power of two. */
  readonly segmentLength: number
  /** Where the first of a key's three slots may lie; there are two segments more. */
  readonly segmentCountLength: number
  readonly fingerprints: Uint16Array
  /** Different keys in it. */
  readonly entries: number
}

/** What takes 32 bytes of memory each while a filter is built stays below 2 GB, and every size within 32 bits. */
export const maxEntries = 50_000_000
const maxSegmentLength = 1 << 18
// A seed fails about once in a hundred; that so many fail in a row means a broken mixing function.
const maxSeeds = 100
const lowLane = endianness() === 'LE' ? 0 : 1

/** Builds the filter of the keys, in whatever order and however often they come; the same set gives the same bits. Sorts `keys` in place. Throws RangeError above `maxEntries`. */
export function buildFuseFilter(keys: BigUint64Array<ArrayBuffer>): FuseFilter {
  const entries = sortUnique(keys)
  if (entries > maxEntries) throw new RangeError(`a filter holds at most ${maxEntries} entries`)
  const lanes = new Uint32Array(keys.buffer, keys.byteOffset, entries * 2)
  const size = sizeFor(entries)
  for (let seed = 1; seed <= maxSeeds; seed++) {
    const fingerprints = assignFingerprints(lanes, { ...size, seed })
    if (fingerprints !== undefined) return { ...size, seed, fingerprints, entries }
  }
  throw new Error('no seed gives a filter')
}

/** Whether the key may be in the set. Three reads, whatever the size. */
export function hasKey(filter: FuseFilter, key: bigint): boolean {
  if (filter.entries === 0) return false
  const slot = new Slots(filter)
  slot.find(Number(key & 0xffffffffn), Number(key >> 32n))
  const { fingerprints } = filter
  return ((fingerprints[slot.a] ?? 0) ^ (fingerprints[slot.b] ?? 0) ^ (fingerprints[slot.c] ?? 0)) === slot.fingerprint
}

type Shape = Pick<FuseFilter, 'seed' | 'segmentLength' | 'segmentCountLength'>

/** The paper's sizes for three slots a key: 1.125 slots per key for large sets, more for small ones. */
function sizeFor(entries: number): { segmentLength: number; segmentCountLength: number } {
  const n = Math.max(2, entries)
  const segmentLength = Math.min(maxSegmentLength, 2 ** Math.floor(Math.log(n) / Math.log(3.33) + 2.25))
  const factor = Math.max(1.125, 0.875 + (0.25 * Math.log(1_000_000)) / Math.log(n))
  const segments = Math.max(1, Math.ceil(Math.round(n * factor) / segmentLength) - 2)
  return { segmentLength, segmentCountLength: segments * segmentLength }
}

/** How many fingerprints a filter of this shape has. */
export function slotCount(shape: Pick<Shape, 'segmentLength' | 'segmentCountLength'>): number {
  return shape.segmentCountLength + 2 * shape.segmentLength
}

function sortUnique(keys: BigUint64Array): number {
  keys.sort()
  let count = 0
  let last: bigint | undefined
  for (const key of keys) {
    if (key !== last) keys[count++] = key
    last = key
  }
  return count
}

/** Where a key's three slots are, and its fingerprint; one object for many keys, so that building allocates nothing per key. */
class Slots {
  a = 0
  b = 0
  c = 0
  fingerprint = 0
  readonly #seed: number
  readonly #segmentLength: number
  readonly #scale: number

  constructor({ seed, segmentLength, segmentCountLength }: Shape) {
    this.#seed = seed
    this.#segmentLength = segmentLength
    this.#scale = segmentCountLength / 2 ** 32
  }

  find(low: number, high: number): void {
    // A bijection of the 64 bits: two keys are never confused by it, whatever the seed.
    const x = mix(low ^ mix(high ^ this.#seed))
    const y = (high ^ mix(x)) >>> 0
    const mask = this.#segmentLength - 1
    this.a = Math.floor(y * this.#scale)
    this.b = (this.a + this.#segmentLength) ^ (((x >>> 18) | (y << 14)) & mask)
    this.c = (this.a + 2 * this.#segmentLength) ^ (x & mask)
    this.fingerprint = (x ^ (x >>> 16) ^ y) & 0xffff
  }

  slot(which: number): number {
    return which === 0 ? this.a : which === 1 ? this.b : this.c
  }
}

/** MurmurHash3's finalizer: every bit of the input changes each bit of the output with a chance of a half. */
function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** Peels the keys that alone hold a slot until none is left, then gives them their fingerprints in the opposite order; undefined when this seed leaves a knot. */
function assignFingerprints(lanes: Uint32Array, shape: Shape): Uint16Array | undefined {
  const slots = new Slots(shape)
  const size = slotCount(shape)
  const entries = lanes.length / 2
  const degree = new Uint32Array(size)
  const keyXor = new Uint32Array(size) // the xor of the numbers of the keys in a slot: the number itself where there is one
  for (let key = 0; key < entries; key++) visit(key, 1)

  function locate(key: number): void {
    slots.find(lanes[2 * key + lowLane] ?? 0, lanes[2 * key + 1 - lowLane] ?? 0)
  }
  function visit(key: number, change: 1 | -1): void {
    locate(key)
    for (let which = 0; which < 3; which++) {
      const slot = slots.slot(which)
      degree[slot] = (degree[slot] ?? 0) + change
      keyXor[slot] = (keyXor[slot] ?? 0) ^ key
    }
  }

  const alone = new Uint32Array(size)
  let waiting = 0
  for (let slot = 0; slot < size; slot++) if (degree[slot] === 1) alone[waiting++] = slot
  const order = new Uint32Array(entries)
  const owned = new Uint32Array(entries)
  let peeled = 0
  while (waiting > 0) {
    const slot = alone[--waiting] ?? 0
    if (degree[slot] !== 1) continue
    const key = keyXor[slot] ?? 0
    order[peeled] = key
    owned[peeled++] = slot
    visit(key, -1)
    for (let which = 0; which < 3; which++) {
      const next = slots.slot(which)
      if (degree[next] === 1) alone[waiting++] = next
    }
  }
  if (peeled < entries) return undefined

  const fingerprints = new Uint16Array(size)
  for (let index = entries - 1; index >= 0; index--) {
    locate(order[index] ?? 0)
    const own = owned[index] ?? 0
    // The own slot is still 0, so that all three may be read.
    fingerprints[own] =
      slots.fingerprint ^ (fingerprints[slots.a] ?? 0) ^ (fingerprints[slots.b] ?? 0) ^ (fingerprints[slots.c] ?? 0)
  }
  return fingerprints
}
