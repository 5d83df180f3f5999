const blockBytes = 512

export interface TarEntry {
  path: string
  kind: 'file' | 'folder' | 'symlink'
  bytes: number
  isExecutable: boolean
  /** Of a symlink. */
  target?: string
}

const typeFlags = { file: '0', folder: '5', symlink: '2' } as const

/** The header blocks of an entry (POSIX ustar, with extended records where a name is long or not ASCII); its content follows, filled up to whole blocks. */
export function encodeTarHeader(entry: TarEntry): Buffer {
  const records = [
    ...(fits(entry.path) ? [] : [paxRecord('path', entry.path)]),
    ...(entry.target === undefined || fits(entry.target) ? [] : [paxRecord('linkpath', entry.target)]),
  ].join('')
  const own = headerBlock(entry, typeFlags[entry.kind])
  if (records === '') return own
  const extended = Buffer.from(records)
  const about = { path: 'extended', kind: 'file', bytes: extended.length, isExecutable: false } as const
  return Buffer.concat([headerBlock(about, 'x'), extended, padding(extended.length), own])
}

/** What fills content of this length up to whole blocks. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((blockBytes - (bytes % blockBytes)) % blockBytes)
}

/** What ends an archive. */
export const endOfArchive: Buffer = Buffer.alloc(2 * blockBytes)

function headerBlock({ path, bytes, isExecutable, kind, target = '' }: TarEntry, type: string): Buffer {
  const block = Buffer.alloc(blockBytes)
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`
  block.write(path, 0, 100, 'utf8')
  block.write(octal(isExecutable || kind !== 'file' ? 0o755 : 0o644, 8), 100, 'latin1')
  block.write(octal(0, 8) + octal(0, 8), 108, 'latin1') // owner and group: unpacked without them
  block.write(octal(bytes, 12) + octal(0, 12), 124, 'latin1')
  block.write(' '.repeat(8) + type, 148, 'latin1')
  block.write(target, 157, 100, 'utf8')
  block.write('ustar\x0000', 257, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function fits(text: string): boolean {
  return text.length <= 100 && /^[\x20-\x7e]*$/.test(text)
}

/** `length key=value\n`, where the length counts itself (POSIX pax). */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + 1
  while (String(length).length + rest !== length) length = String(length).length + rest
  return `${length} ${key}=${value}\n`
}
