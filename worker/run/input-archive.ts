import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { extract, type Header } from 'tar-stream'
import { isPathBelow } from './compute-input.ts'
import { encodeTarHeader, endOfArchive, padding, type TarEntry } from './tar-entry.ts'

export type InputFiles = readonly { path: string; content: string }[]

/** A part of what a job finds in its folder; a later part wins over an earlier one. */
export type InputPart =
  | { files: InputFiles }
  /** A tar or tar.gz on this machine's disk; only entries that `accept` names get through, links only where they are `linked`. */
  | { archive: string; accept: (path: string) => boolean; linked: boolean }

/** An archive on our own disk cannot be read as the one that was checked when it came. */
export class ArchiveDamaged extends Error {
  constructor(reason: string, cause?: unknown) {
    super(`an archive of the job cannot be read: ${reason}`, { cause })
    this.name = 'ArchiveDamaged'
  }
}

/**
 * Everything a job starts with as one tar stream of our own writing, for the job itself to unpack inside: nothing of it is ever unpacked on the
 * worker's disk, and no header of somebody else's reaches the tar inside. Throws ArchiveDamaged.
 */
export async function* packInput(parts: readonly InputPart[]): AsyncGenerator<Buffer> {
  for (const part of parts) {
    if ('archive' in part) yield* copyArchive(part)
    else yield* packFiles(part.files)
  }
  yield endOfArchive
}

function* packFiles(files: InputFiles): Generator<Buffer> {
  for (const { path, content } of files) {
    const bytes = Buffer.from(content)
    yield encodeTarHeader({ path, kind: 'file', bytes: bytes.length, isExecutable: false })
    yield Buffer.concat([bytes, padding(bytes.length)])
  }
}

async function* copyArchive(part: Extract<InputPart, { archive: string }>): AsyncGenerator<Buffer> {
  for await (const { header, content } of readArchive(part.archive)) {
    const entry = findEntry(header, part)
    if (entry === undefined) continue
    yield encodeTarHeader(entry)
    for await (const chunk of content) yield chunk
    yield padding(entry.bytes)
  }
}

function findEntry(header: Header, part: { accept: (path: string) => boolean; linked: boolean }): TarEntry | undefined {
  const path = header.name.replace(/^(\.\/)+/, '').replace(/\/+$/, '')
  if (path === '.' || path === '') return undefined
  if (!isPathBelow(path)) throw new ArchiveDamaged('a name leads out of it')
  const isExecutable = ((header.mode ?? 0) & 0o100) !== 0
  const own = { path, isExecutable, bytes: header.size ?? 0 }
  if (!part.accept(path)) return undefined
  if (header.type === 'file' || header.type === 'contiguous-file') return { ...own, kind: 'file' }
  if (header.type === 'directory') return { ...own, kind: 'folder', bytes: 0 }
  if (header.type === 'symlink' && part.linked && typeof header.linkname === 'string')
    return { ...own, kind: 'symlink', bytes: 0, target: header.linkname }
  throw new ArchiveDamaged('it holds more than files and folders')
}

/** The content of one file of an archive, undefined when there is none of that name; at most so many bytes. */
export async function findInArchive(archive: string, name: string, maxBytes: number): Promise<Buffer | undefined> {
  for await (const { header, content } of readArchive(archive)) {
    if (header.name.replace(/^(\.\/)+/, '') !== name || header.type !== 'file') continue
    if ((header.size ?? 0) > maxBytes) throw new RangeError(`${name} is longer than ${maxBytes} bytes`)
    const chunks: Buffer[] = []
    for await (const chunk of content) chunks.push(chunk)
    return Buffer.concat(chunks)
  }
  return undefined
}

async function* readArchive(path: string): AsyncGenerator<{ header: Header; content: AsyncIterable<Buffer> }> {
  const tar = extract()
  const source = createReadStream(path)
  let fault: unknown
  // The reader of `tar` hears of every failure; here it only must not go unheard.
  const noted = (error: unknown) => {
    fault ??= error
  }
  if (await isGzip(path)) pipeline(source, createGunzip(), tar, noted)
  else pipeline(source, tar, noted)
  try {
    for await (const entry of tar) {
      yield { header: entry.header, content: entry as AsyncIterable<Buffer> }
      entry.resume() // what the caller left unread
    }
  } catch (error) {
    if (error instanceof ArchiveDamaged) throw error
    throw new ArchiveDamaged(error instanceof Error ? error.message : 'it ends early', fault ?? error)
  } finally {
    source.destroy()
    tar.destroy()
  }
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer.readUInt16BE(0) === 0x1f8b
  } finally {
    await file.close()
  }
}
