import { hash } from 'node:crypto'
import { buildFuseFilter, type FuseFilter, hasKey, maxEntries, slotCount } from './fuse-filter.ts'

// magic 8 · seed, segmentLength, segmentCountLength, entries, zero: 5 × u32, little-endian · SHA-256 of all else 32 · fingerprints, u16 each
const magic = Buffer.from('HSPWFF16')
const headerLength = 60
const digestAt = 28

/** The file is no password filter of this version, or damaged. */
export class PasswordFilterRefused extends Error {
  override name = 'PasswordFilterRefused'
}

/** What a filter knows a password by: the first 64 bits of the SHA-1 of its NFC form, as breach lists publish it. Nothing is kept secret by it. */
export function passwordKey(password: string): bigint {
  return hash('sha1', password.normalize('NFC'), 'buffer').readBigUInt64BE()
}

/** The key of a password of which a list tells only the SHA-1, in 40 hex digits. */
export function passwordKeyOfSha1(hex: string): bigint {
  return BigInt(`0x${hex.slice(0, 16)}`)
}

/** Whether a password is in the filter, as it is; one in 65,536 others is taken for one that is. */
export function hasPassword(filter: FuseFilter, password: string): boolean {
  return hasKey(filter, passwordKey(password))
}

/** The filter of these keys as the bytes of a file; the same set of keys gives the same bytes. Sorts `keys` in place. */
export function buildPasswordFilter(keys: BigUint64Array<ArrayBuffer>): { bytes: Buffer; entries: number } {
  const filter = buildFuseFilter(keys)
  const bytes = Buffer.alloc(headerLength + 2 * filter.fingerprints.length)
  magic.copy(bytes)
  const { seed, segmentLength, segmentCountLength, entries } = filter
  for (const [index, value] of [seed, segmentLength, segmentCountLength, entries].entries())
    bytes.writeUInt32LE(value, magic.length + 4 * index)
  for (const [index, value] of filter.fingerprints.entries()) bytes.writeUInt16LE(value, headerLength + 2 * index)
  digestOf(bytes).copy(bytes, digestAt)
  return { bytes, entries }
}

/** Reads a filter back; throws `PasswordFilterRefused` unless every byte is as it was written. */
export function readPasswordFilter(bytes: Buffer): FuseFilter {
  if (bytes.length < headerLength || !bytes.subarray(0, magic.length).equals(magic))
    throw new PasswordFilterRefused('is no password filter of this version')
  if (!digestOf(bytes).equals(bytes.subarray(digestAt, headerLength)))
    throw new PasswordFilterRefused('is damaged: its checksum does not match')
  const [seed, segmentLength, segmentCountLength, entries] = [0, 1, 2, 3].map((index) =>
    bytes.readUInt32LE(magic.length + 4 * index),
  ) as [number, number, number, number]
  const shape = { seed, segmentLength, segmentCountLength }
  const isPowerOfTwo = segmentLength > 0 && (segmentLength & (segmentLength - 1)) === 0
  // The checksum tells accidents, not intent: a slot outside the file must be impossible whoever wrote it.
  const fits =
    isPowerOfTwo &&
    segmentCountLength > 0 &&
    segmentCountLength % segmentLength === 0 &&
    entries <= maxEntries &&
    bytes.length === headerLength + 2 * slotCount(shape)
  if (!fits) throw new PasswordFilterRefused('is damaged: its sizes contradict each other')
  const fingerprints = new Uint16Array(slotCount(shape))
  for (let index = 0; index < fingerprints.length; index++)
    fingerprints[index] = bytes.readUInt16LE(headerLength + 2 * index)
  return { ...shape, entries, fingerprints }
}

function digestOf(bytes: Buffer): Buffer {
  const digest = hash('sha256', bytes.subarray(headerLength), 'buffer')
  return hash('sha256', Buffer.concat([bytes.subarray(0, digestAt), digest]), 'buffer')
}
