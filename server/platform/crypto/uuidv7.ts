import type { RandomBytes } from './hash.ts'

const counterLimit = 0x1000 // rand_a, 12 bits

/**
 * Makes UUIDv7 ids (RFC 9562) that only grow within the process, also when the clock goes back or more than 4,096 are made
 * in one millisecond: the time they carry then runs ahead of the clock. They sort by creation and are no secrets.
 */
export function createUuidv7(nowMs: () => number, randomBytes: RandomBytes): () => string {
  let lastMs = -1
  let counter = 0
  return () => {
    const random = Buffer.from(randomBytes(10))
    const ms = nowMs()
    if (ms > lastMs) {
      lastMs = ms
      counter = random.readUInt16BE(0) & 0x7ff // starts in the lower half, so that there is room to count (§6.2 method 1)
    } else if (++counter === counterLimit) {
      lastMs++
      counter = 0
    }
    const bytes = Buffer.alloc(16)
    bytes.writeUIntBE(lastMs, 0, 6)
    bytes.writeUInt16BE(0x7000 | counter, 6)
    random.copy(bytes, 8, 2)
    bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
    const hex = bytes.toString('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}
