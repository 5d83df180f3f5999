import { sql } from 'kysely'
import { type Config, ConfigError } from './config.ts'
import { type Database, openDatabase } from './db/db.ts'
import { isMigrated, migrate } from './db/migrate.ts'
import { grantRuntimeRights } from './db/runtime-role.ts'
import { sqlState } from './db/sql-state.ts'

/**
 * Brings the database to the schema of this program: as the owner named by `HIVESYNC_DATABASE_MIGRATION_URL`, who then gives the server's own role its
 * rights on what is new, or as the server's role where there is no other. Throws ConfigError where neither may.
 */
export async function bringUpToDate(config: Config, db: Database, now: () => number): Promise<void> {
  if (db.dialect === 'postgres' && (await isMigrated(db))) return
  if (config.migrationUrl !== null) return migrateAsOwner(config.migrationUrl, db, now)
  try {
    await migrate(db, { now })
  } catch (error) {
    if (sqlState(error) !== '42501') throw error // insufficient_privilege
    throw new ConfigError([
      'The schema of the database must be brought up to date, and the role in HIVESYNC_DATABASE_URL may not: name the owner of the tables in HIVESYNC_DATABASE_MIGRATION_URL',
    ])
  }
}

async function migrateAsOwner(url: string, db: Database, now: () => number): Promise<void> {
  const owner = await openDatabase(url, { poolSize: 2 })
  try {
    await migrate(owner, { now })
    const [runtime, own] = [await roleOf(db), await roleOf(owner)]
    if (runtime !== own) await owner.transaction((tx) => grantRuntimeRights(tx, runtime))
  } finally {
    await owner.close()
  }
}

async function roleOf(db: Database): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_user as name`.execute(db.kysely)
  return rows[0]?.name ?? ''
}
