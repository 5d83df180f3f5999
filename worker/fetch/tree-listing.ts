export interface ReadLimits {
  /** A tree with more entries (files, links, submodules) is refused whole: a tree bomb lists 10^10 paths from 216 KiB. */
  maxEntries: number
  maxFileBytes: number
  /** Text beyond this many bytes is counted as `overLimit` and not read. */
  maxTotalBytes: number
  maxPathBytes: number
}

/** Files of the commit that are not indexed, by reason. */
export interface SkippedFiles {
  binary: number
  tooLarge: number
  symlinks: number
  submodules: number
  encoding: number
  names: number
  overLimit: number
}

export interface ListedFile {
  oid: string
  bytes: number
  path: string
}

/** PATH_MAX of Linux: no path that could be checked out is longer, so a longer record is only counted, never buffered. */
const maxRecordBytes = 4096 + 128

const recordPattern = /^(\d{6}) (blob|commit|tree) ([0-9a-f]{40}|[0-9a-f]{64}) +(\d+|-)$/

/**
 * Parses `git ls-tree -r -z -l` as it streams in. `push` answers false once more than `maxEntries` were seen, when the
 * command is to be stopped; a record git would never print throws SyntaxError.
 */
export function createTreeListing(limits: ReadLimits, skipped: SkippedFiles) {
  const files: ListedFile[] = []
  let pending: Buffer = Buffer.alloc(0)
  let isOversized = false
  let entries = 0
  let bytes = 0

  const take = (record: Buffer): void => {
    entries += 1
    const entry = isOversized ? 'names' : classify(record, limits)
    isOversized = false
    if (typeof entry === 'string') skipped[entry] += 1
    else if (bytes + entry.bytes > limits.maxTotalBytes) skipped.overLimit += 1
    else {
      bytes += entry.bytes
      files.push(entry)
    }
  }

  return {
    files,
    get entries() {
      return entries
    },
    push(chunk: Buffer): boolean {
      let rest = chunk
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        if (entries >= limits.maxEntries) return false
        take(pending.length > 0 ? Buffer.concat([pending, rest.subarray(0, end)]) : rest.subarray(0, end))
        pending = Buffer.alloc(0)
        rest = rest.subarray(end + 1)
      }
      if (pending.length + rest.length > maxRecordBytes) isOversized = true
      pending = isOversized ? Buffer.alloc(0) : Buffer.concat([pending, rest])
      return true
    },
  }
}

function classify(record: Buffer, limits: ReadLimits): ListedFile | keyof SkippedFiles {
  const tab = record.indexOf(9)
  const [, mode, , oid, size] = recordPattern.exec(record.toString('latin1', 0, Math.max(tab, 0))) ?? []
  if (mode === undefined || oid === undefined || size === undefined) throw new SyntaxError('unexpected ls-tree record')
  if (mode === '120000') return 'symlinks'
  if (mode === '160000') return 'submodules'
  if (mode !== '100644' && mode !== '100755' && mode !== '100664') return 'names'
  const name = record.subarray(tab + 1)
  if (name.length > limits.maxPathBytes) return 'names'
  const path = findText(name)
  if (path === undefined || !isPlainPath(path)) return 'names'
  const bytes = Number(size)
  if (!Number.isSafeInteger(bytes) || bytes > limits.maxFileBytes) return 'tooLarge'
  return { oid, bytes, path }
}

/**
 * Names that could deceive whoever prints or stores them: control characters (terminal escapes, line breaks), bidirectional
 * overrides (CVE-2021-42574), segments that walk up, and git's own folder in any case.
 */
function isPlainPath(path: string): boolean {
  if (/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(path)) return false
  return path.split('/').every((segment) => !/^(\.{0,2}|\.git)$/i.test(segment))
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The bytes as text without a byte order mark; undefined when they are not UTF-8. */
export function findText(bytes: Buffer): string | undefined {
  try {
    return utf8.decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}
