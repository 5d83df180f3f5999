import { type PaxRecords, readPaxRecords } from './pax-records.ts'
import { ArchiveRefused, decodeName, quote, readTarHeader, type TarHeader } from './tar-header.ts'

export interface ArchiveLimits {
  /** Of the whole tar archive, headers included. */
  unpackedBytes: number
  entries: number
}

export interface TarSummary {
  /** The length of the tar archive. */
  unpackedBytes: number
  entries: number
}

export interface TarCheck {
  /** Takes the next bytes; throws ArchiveRefused at the first that is not acceptable. */
  write(chunk: Uint8Array): void
  /** Says what the archive was; throws when it is not whole. */
  end(): TarSummary
}

const blockBytes = 512
const maxPathBytes = 1000
const maxDepth = 64
/** All names together, which this check remembers: a stranger must not fill our memory with them. */
const maxNameBytes = 16 * 1024 * 1024
const maxExtendedBytes = 64 * 1024
/** tar fills its last record with zeros: 10 KiB unless told otherwise. */
const maxPaddingBytes = 1024 * 1024

/**
 * Judges a tar archive while it streams past. What it lets through has one meaning for every reader: plain files and folders, each named once by a path that stays
 * below the folder it is unpacked in, no file in the place of a folder, every header whole and in agreement with its extended header, and nothing behind the end.
 */
export function createTarCheck(limits: ArchiveLimits): TarCheck {
  const places = new Map<string, 'file' | 'folder'>()
  const header = Buffer.alloc(blockBytes)
  let filled = 0
  let skip = 0
  let collecting: { kind: TarHeader['kind']; left: number; padding: number; parts: Buffer[] } | undefined
  let pending: { records: PaxRecords } | undefined
  let zeroBlocks = 0
  let total = 0
  /** Of those, how many have been looked at. */
  let seen = 0
  let entries = 0
  let nameBytes = 0
  let hasBegun = false

  function remember(path: string, kind: 'file' | 'folder'): void {
    nameBytes += Buffer.byteLength(path)
    if (nameBytes > maxNameBytes) throw new ArchiveRefused('its names are too long altogether')
    places.set(path, kind)
  }

  function place(path: string, kind: 'file' | 'folder'): void {
    const known = places.get(path)
    // A folder may be met by what lies in it before its own entry, and has one entry at most.
    if (known === 'file' || named.has(path) || (known === 'folder' && kind === 'file'))
      throw new ArchiveRefused(`${quote(path)} is there twice`)
    if (known === undefined) remember(path, kind)
    named.add(path)
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const parent = path.slice(0, at)
      const above = places.get(parent)
      if (above === 'file') throw new ArchiveRefused(`${quote(parent)} is a file and a folder`)
      if (above === 'folder') return
      remember(parent, 'folder')
    }
  }
  const named = new Set<string>()

  function takeHeader(): void {
    if (isZero(header)) {
      if (pending !== undefined) throw new ArchiveRefused('an extended header belongs to nothing')
      zeroBlocks += 1
      return
    }
    if (zeroBlocks > 0) throw new ArchiveRefused('something stands behind its end')
    const read = readTarHeader(header)
    hasBegun = true
    const padded = Math.ceil(read.bytes / blockBytes) * blockBytes
    if (read.kind === 'file' || read.kind === 'folder') {
      takeEntry(read)
      skip = padded
      return
    }
    // Of two headers for one file one reader would take the first, another the last.
    if (pending !== undefined) throw new ArchiveRefused('a file has two extended headers')
    if (read.bytes > maxExtendedBytes) throw new ArchiveRefused('an extended header is too long')
    collecting = { kind: read.kind, left: read.bytes, padding: padded - read.bytes, parts: [] }
    if (read.bytes === 0) takeExtended()
  }

  function takeEntry(read: TarHeader): void {
    entries += 1
    if (entries > limits.entries) throw new ArchiveRefused(`it has more than ${limits.entries} files and folders`)
    const { path = read.name, size } = pending?.records ?? {}
    pending = undefined
    if (size !== undefined && size !== read.bytes) throw new ArchiveRefused(`${quote(path)} has two sizes`)
    const cleared = clearPath(path, read.kind === 'folder')
    if (cleared !== undefined) place(cleared, read.kind === 'folder' ? 'folder' : 'file')
    if (seen + read.bytes > limits.unpackedBytes) throw tooLarge(limits)
  }

  function takeExtended(): void {
    if (collecting === undefined) return
    const { kind, padding, parts } = collecting
    collecting = undefined
    skip = padding
    const bytes = Buffer.concat(parts)
    if (kind === 'gnu-name') pending = { records: { path: readGnuName(bytes) } }
    else {
      const records = readPaxRecords(bytes)
      if (kind === 'pax') pending = { records }
      else if (records.path !== undefined || records.size !== undefined)
        throw new ArchiveRefused('a global header names or sizes files')
    }
  }

  function take(chunk: Buffer): number {
    if (skip > 0) {
      const used = Math.min(skip, chunk.length)
      skip -= used
      seen += used
      return used
    }
    if (collecting !== undefined) {
      const part = Buffer.from(chunk.subarray(0, collecting.left))
      collecting.parts.push(part)
      collecting.left -= part.length
      seen += part.length
      if (collecting.left === 0) takeExtended()
      return part.length
    }
    const used = chunk.copy(header, filled, 0, blockBytes - filled)
    filled += used
    seen += used
    if (filled === blockBytes) {
      filled = 0
      takeHeader()
    }
    return used
  }

  return {
    write(chunk) {
      let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      total += rest.length
      if (total > limits.unpackedBytes) throw tooLarge(limits)
      while (rest.length > 0) rest = rest.subarray(take(rest))
      if (zeroBlocks * blockBytes > maxPaddingBytes) throw new ArchiveRefused('it ends in too many zeros')
    },
    end() {
      const isWhole = filled === 0 && skip === 0 && collecting === undefined && zeroBlocks >= 2
      if (!isWhole) throw new ArchiveRefused(hasBegun ? 'it ends too early' : 'it is no tar archive')
      return { unpackedBytes: total, entries }
    },
  }
}

function tooLarge(limits: ArchiveLimits): ArchiveRefused {
  return new ArchiveRefused(`it is larger than ${limits.unpackedBytes} bytes when unpacked`)
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0)
}

/** The long name of the next entry, as GNU tar writes it: ended by one NUL. */
function readGnuName(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  if (end < 1 || end !== bytes.length - 1) throw new ArchiveRefused('a long name is damaged')
  return decodeName(bytes.subarray(0, end))
}

/** The path below the folder in which the archive is unpacked; undefined for that folder itself. */
function clearPath(name: string, isFolder: boolean): string | undefined {
  const path = (isFolder ? name.replace(/\/$/, '') : name).replace(/^(\.\/)+/, '')
  if (isFolder && (path === '.' || (path === '' && name !== '' && name !== '/'))) return undefined
  const steps = path.split('/')
  const isBelow = steps.every((step) => step !== '' && step !== '.' && step !== '..')
  if (!isBelow) throw new ArchiveRefused(`${quote(name)} leads out of the folder, or is no plain path`)
  if (/[\p{Cc}\\]/u.test(path)) throw new ArchiveRefused(`${quote(name)} holds a control character or a backslash`)
  if (
    Buffer.byteLength(path) > maxPathBytes ||
    steps.length > maxDepth ||
    steps.some((step) => Buffer.byteLength(step) > 255)
  )
    throw new ArchiveRefused(`${quote(name)} is too long or too deep`)
  return path
}
