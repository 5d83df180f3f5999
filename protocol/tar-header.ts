/** An archive is not of the one kind that is taken; the message says why, in words for whoever made it. */
export class ArchiveRefused extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'ArchiveRefused'
  }
}

export interface TarHeader {
  kind: 'file' | 'folder' | 'pax' | 'pax-global' | 'gnu-name'
  name: string
  bytes: number
}

const refusedKinds: Readonly<Record<string, string>> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '6': 'a named pipe',
  '7': 'a contiguous file',
  K: 'a link with a long target',
  S: 'a sparse file',
}
const kinds: Readonly<Record<string, TarHeader['kind']>> = {
  '0': 'file',
  '\0': 'file',
  '5': 'folder',
  x: 'pax',
  g: 'pax-global',
  L: 'gnu-name',
}
const setBits = 0o6000 // set-user-id and set-group-id

/** Reads one header block (POSIX ustar or GNU) and refuses all that readers of tar understand differently, or that is more than a plain file or folder. */
export function readTarHeader(block: Buffer): TarHeader {
  const magic = block.toString('latin1', 257, 265)
  if (magic !== 'ustar\x0000' && magic !== 'ustar  \0')
    throw new ArchiveRefused('it is no tar archive of today (ustar)')
  if (!hasRightSum(block)) throw new ArchiveRefused('a header is damaged')
  const name = readName(block, magic === 'ustar\x0000')
  const type = block.toString('latin1', 156, 157)
  const kind = kinds[type]
  if (kind === undefined) throw new ArchiveRefused(`${quote(name)} is ${refusedKinds[type] ?? 'of an unknown kind'}`)
  // A target where there is no link: some readers would make one.
  if (block[157] !== 0) throw new ArchiveRefused(`${quote(name)} has a link target`)
  if ((readOctal(block, 100, 8) & setBits) !== 0)
    throw new ArchiveRefused(`${quote(name)} is set-user-id or set-group-id`)
  const bytes = readOctal(block, 124, 12)
  if (kind === 'folder' && bytes !== 0) throw new ArchiveRefused(`the folder ${quote(name)} has contents`)
  return { kind, name, bytes }
}

/** A name as it may stand in a message: short, and without characters that a terminal acts on. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name).replace(/[^\x20-\x7e]/g, '?')
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function decodeName(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new ArchiveRefused('a name is not UTF-8')
  }
}

function readName(block: Buffer, hasPrefix: boolean): string {
  const name = decodeName(field(block, 0, 100))
  const prefix = hasPrefix ? decodeName(field(block, 345, 155)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

/** The bytes before the first NUL. */
function field(block: Buffer, start: number, length: number): Buffer {
  const bytes = block.subarray(start, start + length)
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

/** Octal digits and nothing else: a base-256 number, a sign or a hole is read differently by different readers. */
function readOctal(block: Buffer, start: number, length: number): number {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(block.toString('latin1', start, start + length))?.[1]
  if (digits === undefined) throw new ArchiveRefused('a header holds a number that is not octal')
  return Number.parseInt(digits, 8)
}

function hasRightSum(block: Buffer): boolean {
  let sum = 8 * 0x20 // the sum's own field counts as spaces
  for (const byte of block) sum += byte
  for (let i = 148; i < 156; i++) sum -= block[i] ?? 0
  return readOctal(block, 148, 8) === sum
}
