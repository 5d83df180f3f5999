import { isoTime } from '../platform/clock.ts'
import { createSha256 } from '../platform/crypto/hash.ts'
import type { CellValue, DatabaseCopy } from '../platform/db/copy/read-copy.ts'
import type { Place } from '../platform/store/place.ts'
import { type BackupHeader, type BackupTrailer, encodeRecord } from './records.ts'

/**
 * Tables that are in no backup: nonces are worth nothing after ten minutes, and what is searched is built anew by the next ingest, from the repository itself. `migrations` is
 * in the header.
 */
export const leftOut: ReadonlySet<string> = new Set(['migrations', 'worker_nonces', 'mirrors', 'search_files'])
/** A record is whole in memory, several times over: it holds so many characters, or one row that has more. */
const charactersInRecord = 1024 * 1024

interface Sources {
  copy: DatabaseCopy
  place: Place
  now: number
}

/**
 * The records of a backup: everything the database holds at one moment, then the contents of the store that it names. The server may go on meanwhile; a content that ended since is
 * counted and missed by nobody, for its row had ended too.
 */
export async function* makeBackup({ copy, place, now }: Sources): AsyncGenerator<Buffer, BackupTrailer> {
  yield encodeRecord({ kind: 'header', value: await headerOf(copy, now) })
  const rows: Record<string, number> = {}
  const keys = new Set<string>()
  for (const table of copy.tables) {
    if (leftOut.has(table.name)) continue
    rows[table.name] = 0
    const keyColumn = table.columns.indexOf('object_key')
    for await (const batch of copy.rows(table)) {
      rows[table.name] = (rows[table.name] ?? 0) + batch.length
      for (const row of batch) if (typeof row[keyColumn] === 'string') keys.add(row[keyColumn])
      for (const part of inRecords(batch))
        yield encodeRecord({ kind: 'rows', value: { table: table.name, columns: table.columns, rows: part } })
    }
  }
  const trailer = { rows, objects: 0, objectBytes: 0, ended: 0 }
  for (const key of keys) {
    const bytes = yield* copyObject(place, key)
    if (bytes === undefined) trailer.ended += 1
    else {
      trailer.objects += 1
      trailer.objectBytes += bytes
    }
  }
  yield encodeRecord({ kind: 'trailer', value: trailer })
  return trailer
}

function* inRecords(rows: readonly CellValue[][]): Generator<CellValue[][]> {
  let part: CellValue[][] = []
  let characters = 0
  for (const row of rows) {
    part.push(row)
    for (const value of row) characters += String(value).length
    if (characters < charactersInRecord) continue
    yield part
    part = []
    characters = 0
  }
  if (part.length > 0) yield part
}

async function* copyObject(place: Place, key: string): AsyncGenerator<Buffer, number | undefined> {
  const content = await place.read(key)
  if (content === undefined) return undefined
  const running = createSha256()
  let bytes = 0
  yield encodeRecord({ kind: 'object', value: { key } })
  for await (const chunk of content) {
    running.update(chunk)
    bytes += chunk.length
    yield encodeRecord({ kind: 'bytes', value: chunk })
  }
  yield encodeRecord({ kind: 'end-of-object', value: { bytes, sha256: running.hex() } })
  return bytes
}

async function headerOf(copy: DatabaseCopy, now: number): Promise<BackupHeader> {
  const table = copy.tables.find(({ name }) => name === 'migrations')
  const migrations: { version: number; name: string; checksum: string }[] = []
  if (table !== undefined) {
    const [version, name, checksum] = ['version', 'name', 'checksum'].map((column) => table.columns.indexOf(column))
    for await (const batch of copy.rows(table))
      for (const row of batch)
        migrations.push({
          version: Number(row[version ?? -1]),
          name: String(row[name ?? -1]),
          checksum: String(row[checksum ?? -1]),
        })
  }
  migrations.sort((a, b) => a.version - b.version)
  return {
    format: 1,
    createdAt: isoTime(now),
    dialect: copy.dialect,
    migrations: migrations.map(({ name, checksum }) => ({ name, checksum })),
  }
}
