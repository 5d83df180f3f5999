import { createReadStream, createWriteStream, openAsBlob } from 'node:fs'
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { CliError, usageError } from './failure.ts'

export interface PackedFolder extends AsyncDisposable {
  archive: Blob
  /** What was left out, and why. */
  skipped: { path: string; reason: string }[]
}

const leftOut = new Set(['.git', 'node_modules'])

/** Packs the plain files and folders below a folder into a tar.gz in a temporary file, which goes when the result is disposed of. */
export async function packFolder(folder: string): Promise<PackedFolder> {
  if (!(await isFolder(folder))) throw usageError(`${folder} is no folder`)
  const place = await mkdtemp(join(tmpdir(), 'hivesync-bundle-'))
  const remove = () => rm(place, { recursive: true, force: true })
  try {
    const skipped: PackedFolder['skipped'] = []
    const file = join(place, 'bundle.tar.gz')
    await pipeline(writeArchive(folder, skipped), createGzip(), createWriteStream(file, { mode: 0o600, flags: 'wx' }))
    return { archive: await openAsBlob(file), skipped, [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false // the answer to the question asked
  }
}

async function* writeArchive(root: string, skipped: PackedFolder['skipped']): AsyncGenerator<Buffer> {
  yield* writeFolder(root, '', skipped)
  yield Buffer.alloc(1024)
}

async function* writeFolder(root: string, prefix: string, skipped: PackedFolder['skipped']): AsyncGenerator<Buffer> {
  const entries = await readdir(join(root, prefix), { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`
    const reason = findReason(entry)
    if (reason !== undefined) skipped.push({ path, reason })
    else if (entry.isDirectory()) {
      yield* headers({ path: `${path}/`, type: '5', bytes: 0, mode: 0o755, mtimeMs: 0 })
      yield* writeFolder(root, path, skipped)
    } else yield* writeFile(join(root, path), path)
  }
}

function findReason(entry: { name: string; isDirectory(): boolean; isFile(): boolean }): string | undefined {
  if (entry.isDirectory() && leftOut.has(entry.name)) return 'is never taken along'
  if (!entry.isDirectory() && !entry.isFile()) return 'is no plain file'
  // U+FFFD stands for bytes that are no UTF-8.
  return /[\p{Cc}\\\ufffd]/u.test(entry.name) ? 'has a name that archives do not take' : undefined
}

async function* writeFile(file: string, path: string): AsyncGenerator<Buffer> {
  const handle = await open(file, 'r')
  try {
    const { size, mode, mtimeMs } = await handle.stat()
    yield* headers({ path, type: '0', bytes: size, mode: (mode & 0o100) === 0 ? 0o644 : 0o755, mtimeMs })
    let written = 0
    if (size > 0)
      for await (const chunk of createReadStream(file, { fd: handle, autoClose: false, start: 0, end: size - 1 })) {
        const bytes = Buffer.from(chunk)
        written += bytes.length
        yield bytes
      }
    if (written !== size)
      throw new CliError('file_changed', 'failed', `${path} became shorter while it was packed: try again`)
    yield Buffer.alloc((512 - (size % 512)) % 512)
  } finally {
    await handle.close()
  }
}

interface Entry {
  path: string
  type: '0' | '5' | 'x'
  bytes: number
  mode: number
  mtimeMs: number
}

/** The header of an entry (POSIX ustar); before it an extended one where the name is too long. */
function* headers(entry: Entry): Generator<Buffer> {
  if (Buffer.byteLength(entry.path) <= 100) return yield header(entry)
  const record = Buffer.from(paxRecord('path', entry.path))
  yield header({ ...entry, path: 'PaxHeader', type: 'x', bytes: record.length })
  yield Buffer.concat([record, Buffer.alloc((512 - (record.length % 512)) % 512)])
  yield header({ ...entry, path: entry.type === '5' ? 'long/' : 'long' })
}

function header({ path, type, bytes, mode, mtimeMs }: Entry): Buffer {
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  if (bytes > 0o77777777777) throw usageError(`${path} is too large for an archive`)
  const block = Buffer.alloc(512)
  block.write(path, 0)
  block.write(
    octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(bytes, 11) + octal(Math.max(0, Math.floor(mtimeMs / 1000)), 11),
    100,
    'latin1',
  )
  block.write(`        ${type}`, 148, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${octal(sum, 6)} `, 148, 'latin1')
  return block
}

/** Its length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = Buffer.byteLength(rest) + 1
  while (String(length).length + Buffer.byteLength(rest) > length) length += 1
  return `${length}${rest}`
}
