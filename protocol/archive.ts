import { createGunzip, type Gunzip } from 'node:zlib'
import { type ArchiveLimits, createTarCheck, type TarSummary } from './tar-check.ts'
import { ArchiveRefused } from './tar-header.ts'

export type { ArchiveLimits } from './tar-check.ts'
export { ArchiveRefused } from './tar-header.ts'

export interface ArchiveCheck {
  /** Takes the next bytes of the archive as it is stored; rejects with ArchiveRefused as soon as it is not acceptable. */
  write(chunk: Uint8Array): Promise<void>
  /** Says what the archive was; rejects when it is not whole. */
  end(): Promise<TarSummary>
  /** Frees what is held; to be called whatever happened. */
  close(): void
}

/** Text compresses tenfold; zeros a thousandfold, which costs us the time to unpack them and nobody has a use for. */
const maxRatio = 200
/** Below this much output a ratio says nothing. */
const ratioFromBytes = 4 * 1024 * 1024

/**
 * Judges a tar or tar.gz archive (told apart by its first bytes) while it streams past, before anything is unpacked anywhere; `createTarCheck` says what it lets through.
 * Nothing of it may be used before `end` has resolved.
 */
export function createArchiveCheck(limits: ArchiveLimits): ArchiveCheck {
  const tar = createTarCheck(limits)
  let gunzip: GzipReader | undefined
  let first: Buffer = Buffer.alloc(0)
  let isSniffed = false

  async function pass(chunk: Uint8Array): Promise<void> {
    if (gunzip === undefined) tar.write(chunk)
    else await gunzip.write(chunk)
  }

  return {
    async write(chunk) {
      if (isSniffed) return pass(chunk)
      first = Buffer.concat([first, chunk])
      if (first.length < 2) return
      isSniffed = true
      if (first[0] === 0x1f && first[1] === 0x8b) gunzip = openGzip((unpacked) => tar.write(unpacked))
      await pass(first)
    },
    async end() {
      await gunzip?.end()
      return tar.end()
    },
    close: () => gunzip?.close(),
  }
}

interface GzipReader {
  write(chunk: Uint8Array): Promise<void>
  end(): Promise<void>
  close(): void
}

function openGzip(onUnpacked: (chunk: Buffer) => void): GzipReader {
  const gunzip: Gunzip = createGunzip()
  const broken = Promise.withResolvers<never>()
  // Whoever waits is told; if nobody does, the next call is.
  broken.promise.catch(() => undefined)
  let packed = 0
  let unpacked = 0
  gunzip.on('error', () => broken.reject(new ArchiveRefused('it is no whole gzip file')))
  gunzip.on('data', (chunk: Buffer) => {
    try {
      unpacked += chunk.length
      if (unpacked > ratioFromBytes && unpacked > packed * maxRatio)
        throw new ArchiveRefused(`it unpacks to more than ${maxRatio} times its size`)
      onUnpacked(chunk)
    } catch (error) {
      gunzip.destroy()
      broken.reject(error)
    }
  })
  const ended = new Promise<void>((resolve) => gunzip.on('end', resolve))
  return {
    async write(chunk) {
      packed += chunk.length
      const taken = new Promise<void>((resolve) => gunzip.write(chunk, () => resolve()))
      // At the end of its data zlib takes nothing more, and may not answer.
      await Promise.race([taken, ended, broken.promise])
    },
    async end() {
      gunzip.end()
      await Promise.race([ended, broken.promise])
      // zlib says nothing of what follows the last member.
      if (gunzip.bytesWritten !== packed) throw new ArchiveRefused('something stands behind the end of its gzip data')
    },
    close: () => void gunzip.destroy(),
  }
}
