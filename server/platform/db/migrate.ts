// Brings a database to the schema of this program: forward only, each file once, in one transaction of its own.
import { sql } from 'kysely'
import { DatabaseError } from './database-error.ts'
import type { Database, Db } from './db.ts'
import { withLock } from './dialect.ts'
import { type Migration, migrationsDirectory, readMigrations, renderMigration } from './migration-files.ts'
import { sqlState } from './sql-state.ts'

interface MigrationRow {
  version: number
  name: string
  checksum: string
}

/**
 * Applies what is missing and returns the names applied. Refuses to go on when an applied file has changed or is gone
 * (`migration_changed`, `migration_missing`) or the database is newer than this program (`migration_unknown`).
 * `upTo` stops after that many, for rows that were copied from a database of that state.
 * Replicas may call it at once: they queue for an advisory lock, and SQLite has a single process anyway.
 */
export async function migrate(
  database: Database,
  options: { now: () => number; directory?: string; upTo?: number },
): Promise<string[]> {
  const { directory = migrationsDirectory, now, upTo } = options
  const migrations = (await readMigrations(directory)).slice(0, upTo)
  const applied: string[] = []
  for (;;) {
    const name = await database.transaction(async (tx) => {
      await lockMigrations(database, tx)
      const rows = await readApplied(tx)
      const next = findNext(migrations, rows)
      if (!next) return undefined
      await database.runScript(renderMigration(next.text, database.dialect))
      await sql`insert into migrations (version, name, checksum, applied_at)
        values (${next.version}, ${next.name}, ${next.checksum}, ${now()})`.execute(tx)
      return next.name
    })
    if (name === undefined) return applied
    applied.push(name)
  }
}

/** Whether nothing is missing, found by reading alone: all that a role may do which has no right to the schema. False for a database without one, and where the role may not even read. */
export async function isMigrated(database: Database, directory = migrationsDirectory): Promise<boolean> {
  try {
    return findNext(await readMigrations(directory), await readApplied(database.kysely)) === undefined
  } catch (error) {
    if (/^(42P01|42501)$/.test(sqlState(error) ?? '')) return false // undefined_table, insufficient_privilege
    throw error
  }
}

async function lockMigrations(database: Database, tx: Db): Promise<void> {
  // Building an index over a large table takes as long as it takes.
  if (database.dialect === 'postgres') await sql`set local statement_timeout = 0`.execute(tx)
  await withLock(tx, 'migrations')
  await sql`create table if not exists migrations (
    version bigint primary key, name text not null, checksum text not null, applied_at bigint not null
  )`.execute(tx)
}

async function readApplied(tx: Db): Promise<MigrationRow[]> {
  const { rows } = await sql<MigrationRow>`select version, name, checksum from migrations order by version`.execute(tx)
  return rows
}

function findNext(migrations: Migration[], rows: MigrationRow[]): Migration | undefined {
  for (const [index, row] of rows.entries()) {
    if (row.version !== index + 1) {
      throw new DatabaseError('migration_missing', `the database lacks migration ${index + 1} but has ${row.name}`)
    }
    const migration = migrations[index]
    if (!migration) {
      throw new DatabaseError('migration_unknown', `the database has ${row.name}: it is newer than this program`)
    }
    if (migration.name !== row.name) {
      throw new DatabaseError('migration_missing', `${row.name} is applied, but this program has ${migration.name}`)
    }
    if (migration.checksum !== row.checksum) {
      throw new DatabaseError(
        'migration_changed',
        `${row.name} is not the file that was applied; add a new one instead`,
      )
    }
  }
  return migrations[rows.length]
}
