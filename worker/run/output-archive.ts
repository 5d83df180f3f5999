import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { extract, type Header } from 'tar-stream'
import type { Digest } from '../enrol/random.ts'
import { isSafePath } from './compute-input.ts'

export interface OutputFile {
  path: string
  bytes: number
  sha256: string
}

/** A file of the job that lies in the spool under a number of ours. */
export interface SpooledFile extends OutputFile {
  name: string
}

/** What a job left in its folder `out`. */
export interface OutputManifest {
  /** Sorted by path; in the spool, unless `spoolFault`. */
  outputs: SpooledFile[]
  /** Links, devices and names that lead out of the folder or are no text: none of them is ever followed or kept. */
  skipped: number
  /** Files beyond what a manifest holds; their contents are not kept either. */
  unlisted: number
  /** The archive ended early or was no archive; the files before the break are listed. */
  damaged: boolean
  /** Why the contents could not be kept on this machine's disk, such as ENOSPC; the list is right all the same. */
  spoolFault: string | undefined
}

export interface OutputReader {
  /** Takes the next bytes of the archive; never throws, whatever they are. */
  write(chunk: Buffer): void
  /** Ends the reading; what is listed then survives a power cut. */
  finish(): Promise<OutputManifest>
}

/** A completion holds 256 KiB, and the rest of the result needs room too. */
const maxManifestBytes = 150 * 1024
/** What a listed file costs beside its path, size and digest: the id of its artifact, or why it has none. */
const bytesPerEntry = 70
/** contracts/artifacts.ts, declareArtifacts: what goes into one request. */
const maxOutputs = 1000
/** A job could otherwise keep the worker busy with a million empty files. */
const maxEntries = 100_000

/**
 * Reads the tar stream of a job's results, which the job can make hostile at will, and keeps the regular files in `folder` under numbers: no name of the
 * job's ever reaches the disk. What is written is bounded by the sandbox's cap on the stream. Written at once, so that nothing piles up in memory.
 */
export function createOutputReader(createDigest: () => Digest, folder: string): OutputReader {
  const archive = extract()
  const files = new Map<string, SpooledFile>()
  const replaced: string[] = []
  const counts = { entries: 0, skipped: 0, unlisted: 0, manifestBytes: 0 }
  const spool = openSpool(folder)
  let fault: Error | undefined

  archive.on('entry', (header, stream, next) => {
    counts.entries += 1
    if (counts.entries > maxEntries) return next(new Error('too many entries'))
    const path = findOutputPath(header)
    const isKept = path !== undefined && hasRoom(path, header.size ?? 0)
    const digest = isKept ? createDigest() : undefined
    if (isKept) spool.begin()
    stream.on('data', (chunk) => {
      if (!isKept || !(chunk instanceof Uint8Array)) return
      digest?.update(chunk)
      spool.write(chunk)
    })
    stream.on('error', next)
    stream.on('end', () => {
      if (path !== undefined && digest !== undefined) list(path, header.size ?? 0, digest.hex())
      else if (path !== undefined) counts.unlisted += 1
      else if (header.type !== 'directory') counts.skipped += 1
      next()
    })
  })

  function hasRoom(path: string, bytes: number): boolean {
    if (files.has(path)) return true
    const size = JSON.stringify({ path, bytes, sha256: '' }).length + 64 + bytesPerEntry
    if (files.size >= maxOutputs || counts.manifestBytes + size > maxManifestBytes) return false
    counts.manifestBytes += size
    return true
  }

  function list(path: string, bytes: number, sha256: string): void {
    // Of two entries with one name the later one counts, as it would for tar.
    const before = files.get(path)
    if (before !== undefined) replaced.push(before.name)
    files.set(path, { path, bytes, sha256, name: spool.end() })
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
      const spoolFault = await spool.close(
        outputs.map(({ name }) => name),
        replaced,
      )
      const { skipped, unlisted } = counts
      return { outputs, skipped, unlisted, damaged: fault !== undefined, spoolFault }
    },
  }
}

/** Files 0, 1, 2 … of a folder, one written at a time. After its first failure it writes nothing any more. */
function openSpool(folder: string) {
  let count = 0
  let file: number | undefined
  let fault: string | undefined

  function attempt(act: () => void): void {
    if (fault !== undefined) return
    try {
      act()
    } catch (error) {
      fault = codeOf(error)
      close()
    }
  }
  function close(): void {
    if (file !== undefined) closeSync(file)
    file = undefined
  }
  return {
    begin(): void {
      close() // of an entry that broke off
      count += 1
      // Exclusive, so that no link planted under the name is followed.
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
      attempt(() => {
        file = openSync(join(folder, String(count)), flags, 0o600)
      })
    },
    write(chunk: Uint8Array): void {
      attempt(() => {
        for (let at = 0; file !== undefined && at < chunk.length; ) at += writeSync(file, chunk, at)
      })
    },
    /** The name of the file that was begun last. */
    end(): string {
      close()
      return String(count)
    },
    async close(kept: readonly string[], replaced: readonly string[]): Promise<string | undefined> {
      close()
      try {
        for (const name of replaced) await rm(join(folder, name), { force: true })
        if (fault !== undefined) return fault
        // Many at once: the file system then writes its journal once for them all.
        for (let start = 0; start < kept.length; start += 64)
          await Promise.all(kept.slice(start, start + 64).map((name) => syncPath(join(folder, name))))
        await syncPath(folder)
      } catch (error) {
        fault ??= codeOf(error)
      }
      return fault
    },
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

/** The path of a regular file below the folder, undefined for everything else. */
function findOutputPath(header: Header): string | undefined {
  if (header.type !== 'file' && header.type !== 'contiguous-file') return undefined
  const path = header.name.replace(/^(\.\/)+/, '')
  // U+FFFD stands for bytes that were no UTF-8: two such names could become one. One odd character alone the contract takes for no name.
  const isName = isSafePath(path) && !path.includes('\ufffd') && (path.length > 1 || /^[A-Za-z0-9_-]$/.test(path))
  return isName ? path : undefined
}
