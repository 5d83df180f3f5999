import { extract, type Header } from 'tar-stream'
import type { Digest } from '../enrol/random.ts'
import { isSafePath } from './compute-input.ts'

export interface OutputFile {
  path: string
  bytes: number
  sha256: string
}

/** What a job left in its folder `out`. */
export interface OutputManifest {
  /** Sorted by path. */
  outputs: OutputFile[]
  /** Links, devices and names that lead out of the folder or are no text: none of them is ever followed or kept. */
  skipped: number
  /** Files beyond what a manifest holds. */
  unlisted: number
  /** The archive ended early or was no archive; the files before the break are listed. */
  damaged: boolean
}

export interface OutputReader {
  /** Takes the next bytes of the archive; never throws, whatever they are. */
  write(chunk: Buffer): void
  finish(): Promise<OutputManifest>
}

/** A completion holds 256 KiB, and the rest of the result needs room too. */
const maxManifestBytes = 160 * 1024
/** A job could otherwise keep the worker busy with a million empty files. */
const maxEntries = 100_000

/**
 * Reads the tar stream of a job's results, which the job can make hostile at will. The contents are hashed and let go: there
 * is no artifact store yet, so a manifest of names, sizes and digests is all that is kept.
 */
export function createOutputReader(createDigest: () => Digest): OutputReader {
  const archive = extract()
  const files = new Map<string, OutputFile>()
  const counts = { entries: 0, skipped: 0, unlisted: 0, manifestBytes: 0 }
  let fault: Error | undefined

  archive.on('entry', (header, stream, next) => {
    counts.entries += 1
    if (counts.entries > maxEntries) return next(new Error('too many entries'))
    const path = findOutputPath(header)
    const digest = path === undefined ? undefined : createDigest()
    stream.on('data', (chunk) => {
      if (chunk instanceof Uint8Array) digest?.update(chunk)
    })
    stream.on('error', next)
    stream.on('end', () => {
      if (path !== undefined && digest !== undefined) list({ path, bytes: header.size ?? 0, sha256: digest.hex() })
      else if (header.type !== 'directory') counts.skipped += 1
      next()
    })
  })

  function list(file: OutputFile): void {
    // Of two entries with one name the later one counts, as it would for tar.
    const size = JSON.stringify(file).length + 1
    if (files.has(file.path)) files.set(file.path, file)
    else if (counts.manifestBytes + size > maxManifestBytes) counts.unlisted += 1
    else {
      files.set(file.path, file)
      counts.manifestBytes += size
    }
  }

  const ended = new Promise<void>((resolve) => {
    archive.on('error', (error) => {
      fault ??= error
    })
    archive.on('close', () => resolve())
  })
  return {
    write(chunk) {
      if (fault === undefined && !archive.destroyed) archive.write(chunk)
    },
    async finish() {
      archive.end(undefined)
      await ended
      const outputs = [...files.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
      return { outputs, skipped: counts.skipped, unlisted: counts.unlisted, damaged: fault !== undefined }
    },
  }
}

/** The path of a regular file below the folder, undefined for everything else. */
function findOutputPath(header: Header): string | undefined {
  if (header.type !== 'file' && header.type !== 'contiguous-file') return undefined
  const path = header.name.replace(/^(\.\/)+/, '')
  // U+FFFD stands for bytes that were no UTF-8: two such names could become one.
  return isSafePath(path) && !path.includes('\ufffd') ? path : undefined
}
