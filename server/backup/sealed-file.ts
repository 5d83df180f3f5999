// How a backup lies on a disk: a line that says what it is, the sealed key, then packed frames of 64 KiB, each sealed.

import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { type Keyring, SealBroken } from '../platform/crypto/keyring.ts'
import {
  createContentKey,
  frameBytes,
  headerBytes,
  openFrame,
  readContentKey,
  sealFrame,
  tagBytes,
} from '../platform/crypto/sealed-frames.ts'
import { BackupUnreadable } from './records.ts'

const firstLine = Buffer.from('hivesync-backup 1\n')
const name = 'backup'

/** Packs (gzip) and seals (AES-256-GCM in the STREAM construction, under a key of this file alone, sealed under HIVESYNC_SECRET). */
export async function* sealBackup(keyring: Keyring, plain: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { key, header } = createContentKey(keyring, name, 'backup')
  yield firstLine
  yield header
  let index = 0
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of through(plain, createGzip({ level: 3 }))) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    // One byte more than a frame: only then it is known not to be the last.
    for (; held.length > frameBytes; held = held.subarray(frameBytes))
      yield sealFrame(key, index++, false, held.subarray(0, frameBytes))
  }
  yield sealFrame(key, index, true, held)
}

/** What `sealBackup` was given; throws BackupUnreadable for another secret, any changed bit, and a file that was cut off. */
export async function* openBackup(keyring: Keyring, sealed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* through(openFrames(keyring, sealed), createGunzip())
  } catch (error) {
    if (error instanceof SealBroken) throw new BackupUnreadable(reasons[error.reason])
    throw error
  }
}

const reasons = {
  malformed: 'it is cut off',
  unknown_key: 'it was made under another secret: list that one in HIVESYNC_SECRET too',
  tampered: 'it was changed or cut off',
} as const

async function* openFrames(keyring: Keyring, sealed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const opening = firstLine.length + headerBytes
  let key: Buffer | undefined
  let index = 0
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of sealed) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    if (key === undefined) {
      if (held.length < opening) continue
      key = readKey(keyring, held.subarray(0, opening))
      held = held.subarray(opening)
    }
    for (; held.length > frameBytes + tagBytes; held = held.subarray(frameBytes + tagBytes))
      yield openFrame(key, index++, false, held.subarray(0, frameBytes + tagBytes))
  }
  if (key === undefined) throw new BackupUnreadable('it is no backup of HiveSync, or cut off')
  yield openFrame(key, index, true, held)
}

function readKey(keyring: Keyring, opening: Buffer): Buffer {
  if (!opening.subarray(0, firstLine.length).equals(firstLine))
    throw new BackupUnreadable('it is no backup of HiveSync')
  return readContentKey(keyring, name, opening.subarray(firstLine.length), 'backup')
}

/** An iterable through a transforming stream; what fails on either side is thrown here. */
async function* through(source: AsyncIterable<Buffer>, transform: NodeJS.ReadWriteStream): AsyncGenerator<Buffer> {
  const output = new PassThrough()
  const piping = pipeline(Readable.from(source, { objectMode: false }), transform, output)
  piping.catch((error: Error) => output.destroy(error))
  for await (const chunk of output) yield chunk
  await piping
}
