import { ArchiveRefused, decodeName, quote } from './tar-header.ts'

/** Records that say nothing about where a file goes or how long it is. */
const harmless = new Set(['mtime', 'atime', 'ctime', 'uid', 'gid', 'uname', 'gname', 'comment'])

export interface PaxRecords {
  path?: string
  size?: number
}

/** Reads the records of an extended header (POSIX pax): each key once, and none that this reader does not know. */
export function readPaxRecords(bytes: Buffer): PaxRecords {
  const found = new Map<string, string>()
  for (let start = 0; start < bytes.length; ) {
    const space = bytes.indexOf(0x20, start)
    const digits = bytes.toString('latin1', start, space < 0 ? start : Math.min(space, start + 8))
    const end = start + Number(/^[1-9][0-9]{0,6}$/.test(digits) ? digits : 0)
    const equals = bytes.indexOf(0x3d, space)
    if (end <= space || end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end)
      throw new ArchiveRefused('an extended header is damaged')
    const key = decodeName(bytes.subarray(space + 1, equals))
    if (found.has(key)) throw new ArchiveRefused(`an extended header says ${quote(key)} twice`)
    if (key !== 'path' && key !== 'size' && !harmless.has(key))
      throw new ArchiveRefused(`an extended header says ${quote(key)}, which is not taken`)
    found.set(key, decodeName(bytes.subarray(equals + 1, end - 1)))
    start = end
  }
  return { ...pathOf(found.get('path')), ...sizeOf(found.get('size')) }
}

function pathOf(path: string | undefined): PaxRecords {
  if (path === undefined) return {}
  if (path === '') throw new ArchiveRefused('an extended header takes a name away')
  return { path }
}

function sizeOf(text: string | undefined): PaxRecords {
  if (text === undefined) return {}
  if (!/^(0|[1-9][0-9]{0,14})$/.test(text))
    throw new ArchiveRefused('an extended header holds a size that is no number')
  return { size: Number(text) }
}
