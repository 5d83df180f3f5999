import { createSha256 } from '../platform/crypto/hash.ts'
import type { CellValue } from '../platform/db/copy/read-copy.ts'
import type { CopyTarget } from '../platform/db/copy/write-copy.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { openDatabase } from '../platform/db/db.ts'
import { migrate } from '../platform/db/migrate.ts'
import { migrationsDirectory, readMigrations } from '../platform/db/migration-files.ts'
import { isObjectKey, type Place } from '../platform/store/place.ts'
import {
  type BackupHeader,
  type BackupRecord,
  type BackupTrailer,
  BackupUnreadable,
  type TableRows,
} from './records.ts'

/** A number given out after the backup was made must not be given out again: a worker that still holds such a lease would be taken for another. */
const numberGap = 1_000_000

export interface Loaded {
  readonly header: BackupHeader
  readonly trailer: BackupTrailer
}

interface Targets {
  databaseUrl: string
  openTarget(): Promise<CopyTarget>
  place: Place
  now(): number
  /** Why every session that is open in the backup ends now; unless given, they stay as they are. */
  endSessions?: string
}

/**
 * Loads a backup into an empty database and store. The database gets the schema of the backup, all rows in one transaction, and then what this version adds; a backup that
 * is not whole leaves no row. Throws BackupUnreadable, and a DatabaseError for a database that has accounts or a newer schema than the backup.
 */
export async function loadBackup(records: AsyncIterator<BackupRecord>, targets: Targets): Promise<Loaded> {
  const header = await readHeader(records)
  await bringSchema(targets, header.migrations.length)
  const loaded = await loadRecords(records, header, targets)
  await bringSchema(targets)
  return loaded
}

async function readHeader(records: AsyncIterator<BackupRecord>): Promise<BackupHeader> {
  const { value: first, done } = await records.next()
  if (done === true || first.kind !== 'header') throw new BackupUnreadable('it does not begin with what it is')
  const known = await readMigrations(migrationsDirectory)
  for (const [index, { name, checksum }] of first.value.migrations.entries()) {
    const migration = known[index]
    if (migration === undefined) throw new BackupUnreadable('it was made by a newer version: restore it with that one')
    if (migration.name !== name || migration.checksum !== checksum)
      throw new BackupUnreadable(`its schema is not this program's: ${name}`)
  }
  return first.value
}

async function bringSchema({ databaseUrl, now }: Targets, upTo?: number): Promise<void> {
  const database = await openDatabase(databaseUrl)
  try {
    await migrate(database, { now, ...(upTo !== undefined && { upTo }) })
  } catch (error) {
    if (!(error instanceof DatabaseError && error.code === 'migration_unknown')) throw error
    // What a later migration did to the rows it found, it would never do to those of the backup.
    const reason = 'a newer version than that of the backup has made this database: restore into an empty one'
    throw new DatabaseError('database_not_empty', reason, { cause: error })
  } finally {
    await database.close()
  }
}

async function loadRecords(
  records: AsyncIterator<BackupRecord>,
  header: BackupHeader,
  { openTarget, place, now, endSessions }: Targets,
): Promise<Loaded> {
  await using target = await openTarget()
  // Of a restore that was killed: what it had begun would stand in the way.
  await place.removeUnfinished(Number.POSITIVE_INFINITY)
  const rows: Record<string, number> = {}
  const found = { objects: 0, objectBytes: 0 }
  for (;;) {
    const { value: record, done } = await records.next()
    if (done === true) throw new BackupUnreadable('it ends before its end')
    if (record.kind === 'rows') {
      const { table, columns } = record.value
      if (rows[table] === undefined) await target.clear(table)
      const isChanged = table === 'sessions' && endSessions !== undefined
      const loaded = isChanged ? ended(record.value, now(), endSessions) : record.value.rows
      await target.insert({ name: table, columns }, loaded)
      rows[table] = (rows[table] ?? 0) + loaded.length
    } else if (record.kind === 'object') {
      found.objects += 1
      found.objectBytes += await loadObject(records, record.value.key, place)
    } else if (record.kind === 'trailer') {
      requireWhole({ rows, ...found }, record.value)
      // The last frame of the file is judged only when it is asked for what follows.
      if ((await records.next()).done !== true) throw new BackupUnreadable('something follows its end')
      for (const table of Object.keys(record.value.rows)) if (rows[table] === undefined) await target.clear(table)
      await target.commit(numberGap)
      return { header, trailer: record.value }
    } else throw new BackupUnreadable('its parts are in no order')
  }
}

/** The rows of sessions, none of them open: in the transaction that brings them, for one that had ended since would live again. */
function ended({ columns, rows }: TableRows, at: number, reason: string): CellValue[][] {
  const [revokedAt, revokedReason] = [columns.indexOf('revoked_at'), columns.indexOf('revoked_reason')]
  return rows.map((row) =>
    row[revokedAt] === null ? row.with(revokedAt, at).with(revokedReason, reason) : row.slice(),
  )
}

/** Counts are compared although everything is sealed: a mistake of ours must not pass for a backup. */
function requireWhole(
  found: { rows: Record<string, number>; objects: number; objectBytes: number },
  trailer: BackupTrailer,
): void {
  const isWhole =
    found.objects === trailer.objects &&
    found.objectBytes === trailer.objectBytes &&
    Object.entries(trailer.rows).every(([table, count]) => (found.rows[table] ?? 0) === count)
  if (!isWhole) throw new BackupUnreadable('it holds less than it says')
}

async function loadObject(records: AsyncIterator<BackupRecord>, key: string, place: Place): Promise<number> {
  if (!isObjectKey(key)) throw new BackupUnreadable('a content has no key')
  const running = createSha256()
  let bytes = 0
  async function* content(): AsyncGenerator<Buffer> {
    for (;;) {
      const { value: record, done } = await records.next()
      if (done === true) throw new BackupUnreadable('it ends in the middle of a content')
      if (record.kind === 'end-of-object') {
        if (record.value.bytes !== bytes || record.value.sha256 !== running.hex())
          throw new BackupUnreadable('a content is not what was stored')
        return
      }
      if (record.kind !== 'bytes') throw new BackupUnreadable('its parts are in no order')
      running.update(record.value)
      bytes += record.value.length
      yield record.value
    }
  }
  // Of a restore that was interrupted.
  await place.remove(key)
  await place.write(key, content())
  return bytes
}
