import type { Keyring } from '../crypto/keyring.ts'
import {
  createContentKey,
  frameBytes,
  headerBytes,
  openFrame,
  readContentKey,
  sealFrame,
  tagBytes,
} from '../crypto/sealed-frames.ts'
import type { ByteRange, Place } from './place.ts'

/** A content as it is stored under this name: the header, then its frames. */
export async function* sealContent(
  keyring: Keyring,
  name: string,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  const { key, header } = createContentKey(keyring, name)
  yield header
  let index = 0
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of content) {
    held = Buffer.concat([held, chunk])
    // One byte more than a frame: only then it is known not to be the last.
    for (; held.length > frameBytes; held = held.subarray(frameBytes))
      yield sealFrame(key, index++, false, held.subarray(0, frameBytes))
  }
  yield sealFrame(key, index, true, held)
}

/** How long the content is of which this many bytes are stored. */
export function plainSize(storedBytes: number): number {
  const sealed = storedBytes - headerBytes
  return sealed - Math.max(1, Math.ceil(sealed / (frameBytes + tagBytes))) * tagBytes
}

/** The bytes of a sealed content, all or a range of them; throws SealBroken in the place where it is not what was stored. Undefined when there is none. */
export async function openContent(
  keyring: Keyring,
  place: Place,
  name: string,
  range?: ByteRange,
): Promise<AsyncIterable<Buffer> | undefined> {
  const stored = await place.size(name)
  const head = stored === undefined ? undefined : await place.read(name, { start: 0, end: headerBytes - 1 })
  if (stored === undefined || head === undefined) return undefined
  const key = readContentKey(keyring, name, await gather(head))
  const bytes = plainSize(stored)
  const { start = 0, end = bytes - 1 } = range ?? {}
  const first = Math.floor(start / frameBytes)
  const last = Math.floor(Math.max(bytes - 1, 0) / frameBytes)
  const until = Math.min(Math.floor(Math.max(end, start) / frameBytes), last)
  const sealedFrame = frameBytes + tagBytes
  const source = await place.read(name, {
    start: headerBytes + first * sealedFrame,
    end: headerBytes + (until + 1) * sealedFrame - 1,
  })
  return source === undefined ? undefined : openFrames(source, { key, first, last, until, start, end })
}

interface Wanted extends ByteRange {
  key: Buffer
  /** Numbers of frames: the first that is read, the last there is, the last that is read. */
  first: number
  last: number
  until: number
}

async function* openFrames(source: AsyncIterable<Buffer>, wanted: Wanted): AsyncGenerator<Buffer> {
  const { key, first, last, until, start, end } = wanted
  const sealedFrame = frameBytes + tagBytes
  let index = first
  let held: Buffer = Buffer.alloc(0)
  const openNext = (sealed: Buffer): Buffer => {
    const plain = openFrame(key, index, index === last, sealed)
    const offset = index * frameBytes
    index += 1
    return plain.subarray(Math.max(0, start - offset), Math.max(0, end + 1 - offset))
  }
  for await (const chunk of source) {
    held = Buffer.concat([held, chunk])
    for (; held.length >= sealedFrame; held = held.subarray(sealedFrame)) yield openNext(held.subarray(0, sealedFrame))
  }
  if (index <= until) yield openNext(held)
}

async function gather(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}
