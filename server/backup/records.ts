// What is in a backup, before it is packed and sealed: records, one after the other.
import type { CellValue } from '../platform/db/copy/read-copy.ts'

/** What the backup is of; the first record. */
export interface BackupHeader {
  readonly format: 1
  readonly createdAt: string
  readonly dialect: 'sqlite' | 'postgres'
  /** The migrations of the database, in order. */
  readonly migrations: readonly { name: string; checksum: string }[]
}

export interface TableRows {
  readonly table: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly CellValue[])[]
}

/** What must have been there before this record; the last one. A backup without it is not whole. */
export interface BackupTrailer {
  readonly rows: Readonly<Record<string, number>>
  readonly objects: number
  readonly objectBytes: number
  /** Contents that ended while the backup was made: their rows are in it, their bytes are nowhere. */
  readonly ended: number
}

export type BackupRecord =
  | { readonly kind: 'header'; readonly value: BackupHeader }
  | { readonly kind: 'rows'; readonly value: TableRows }
  /** A content of the store begins, as it is stored; its bytes follow. */
  | { readonly kind: 'object'; readonly value: { readonly key: string } }
  | { readonly kind: 'bytes'; readonly value: Buffer }
  | { readonly kind: 'end-of-object'; readonly value: { readonly bytes: number; readonly sha256: string } }
  | { readonly kind: 'trailer'; readonly value: BackupTrailer }

const kinds = ['header', 'rows', 'object', 'bytes', 'end-of-object', 'trailer'] as const
const prefixBytes = 5
/** A record holds some rows, of which the largest have a few megabytes. */
const maxRecordBytes = 1024 * 1024 * 1024

/** The backup is damaged, cut off, or of another secret: nothing of it is used. */
export class BackupUnreadable extends Error {
  override name = 'BackupUnreadable'
}

export function encodeRecord({ kind, value }: BackupRecord): Buffer {
  const body = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeUInt8(kinds.indexOf(kind))
  prefix.writeUInt32BE(body.length, 1)
  return Buffer.concat([prefix, body])
}

/** The records of a stream; throws BackupUnreadable where it is none, or ends in the middle of one. */
export async function* decodeRecords(source: AsyncIterable<Buffer>): AsyncGenerator<BackupRecord> {
  // Put together only when a record is whole: with every chunk, a large one would be copied a thousand times.
  let parts: Buffer[] = []
  let bytes = 0
  let needed = prefixBytes
  for await (const chunk of source) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes < needed) continue
    let held = Buffer.concat(parts)
    for (needed = neededBytes(held); held.length >= needed; needed = neededBytes(held)) {
      yield toRecord(held.subarray(0, needed))
      held = held.subarray(needed)
    }
    parts = [held]
    bytes = held.length
  }
  if (bytes > 0) throw new BackupUnreadable('it ends in the middle of a record')
}

/** How long the record is that begins here, or what has to be there to know that. */
function neededBytes(bytes: Buffer): number {
  if (bytes.length < prefixBytes) return prefixBytes
  const needed = prefixBytes + bytes.readUInt32BE(1)
  if (needed > maxRecordBytes) throw new BackupUnreadable('a record is larger than any')
  return needed
}

// Sealed under the server's own secret, it is what this program wrote: its shape is not judged again.
function toRecord(bytes: Buffer): BackupRecord {
  const kind = kinds[bytes.readUInt8()]
  const body = bytes.subarray(prefixBytes)
  if (kind === undefined) throw new BackupUnreadable('a record of a kind that this version does not know')
  return { kind, value: kind === 'bytes' ? body : JSON.parse(body.toString('utf8')) } as BackupRecord
}
