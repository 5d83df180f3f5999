// For tests only: the same suite on SQLite and on PostgreSQL, each database fresh, migrated, and gone afterwards.
import { createHash, randomBytes } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import pg from 'pg'
import { type Database, type DatabaseOptions, openDatabase } from './db.ts'
import { migrate } from './migrate.ts'
import { migrationsDirectory, readMigrations } from './migration-files.ts'

const adminUrl = process.env.HIVESYNC_TEST_DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
// Tests run beside others on few cores, and a slow machine is no failure.
const patience = { transactionTimeoutMs: 60_000, statementTimeoutMs: 120_000, connectTimeoutMs: 60_000 }
const leftoverAgeMs = 24 * 60 * 60 * 1000

/** What a suite gets besides `open`. */
export interface EachDatabase {
  dialect: 'sqlite' | 'postgres'
  /** Makes a database of its own and gives its URL: for tests that start a server process, or open it twice. */
  createUrl(): Promise<string>
}

/**
 * Runs a suite on SQLite and, when it answers, on PostgreSQL; otherwise that half is skipped by name, or fails with
 * HIVESYNC_TEST_REQUIRE_SERVICES=1. Every `open()` gives a fresh migrated database (PostgreSQL: 0.1-0.3 s, so open in
 * `before`, not in each test); all are closed and removed after the suite.
 */
export function onEachDatabase(
  suite: (open: (options?: DatabaseOptions) => Promise<Database>, each: EachDatabase) => void,
  options: { directory?: string; only?: 'sqlite' } = {},
): void {
  const directory = options.directory ?? migrationsDirectory
  describe('on sqlite', () => runSuite('sqlite', directory, suite))
  if (options.only === 'sqlite') return
  if (unreachable === undefined) {
    describe('on postgres', () => runSuite('postgres', directory, suite))
  } else if (isRequired) {
    test('on postgres', () => {
      throw new Error(`HIVESYNC_TEST_REQUIRE_SERVICES=1, but PostgreSQL does not answer: ${unreachable}`)
    })
  } else {
    test('on postgres', { skip: `PostgreSQL does not answer: ${unreachable}` })
  }
}

function runSuite(
  dialect: 'sqlite' | 'postgres',
  directory: string,
  suite: Parameters<typeof onEachDatabase>[0],
): void {
  const opened: Database[] = []
  const removals: (() => Promise<void>)[] = []
  async function createUrl(): Promise<string> {
    const made = dialect === 'sqlite' ? await createSqlite(directory) : await createPostgres(directory)
    removals.push(made.remove)
    return made.url
  }
  after(async () => {
    for (const database of opened) await database.close()
    for (const remove of removals) await remove()
  })
  suite(
    async (options) => {
      const database = await openDatabase(await createUrl(), { ...patience, ...options })
      opened.push(database)
      return database
    },
    { dialect, createUrl },
  )
}

async function hashMigrations(directory: string): Promise<string> {
  const hash = createHash('sha256')
  for (const { name, checksum } of await readMigrations(directory)) hash.update(`${name}:${checksum}\n`)
  return hash.digest('hex').slice(0, 16)
}

// --- SQLite: a migrated file is kept per content of the migrations, and copied

async function createSqlite(directory: string): Promise<{ url: string; remove: () => Promise<void> }> {
  const template = await sqliteTemplate(directory)
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-test-'))
  const path = join(folder, 'test.db')
  await copyFile(template, path)
  await chmod(path, 0o600)
  return { url: `sqlite:${path}`, remove: () => rm(folder, { recursive: true, force: true }) }
}

async function sqliteTemplate(directory: string): Promise<string> {
  const folder = join(tmpdir(), `hivesync-test-templates-${process.getuid?.() ?? 'user'}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `${await hashMigrations(directory)}.db`)
  if (await stat(path).catch(() => undefined)) return path
  // Built aside and renamed, so that test files running at once never see half of one.
  const building = await mkdtemp(join(folder, 'building-'))
  const database = await openDatabase(`sqlite:${join(building, 'template.db')}`)
  await migrate(database, { directory, now: Date.now })
  await database.close()
  await rename(join(building, 'template.db'), path)
  await rm(building, { recursive: true, force: true })
  await removeOldTemplates(folder, path)
  return path
}

async function removeOldTemplates(folder: string, keep: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const entry = await stat(path).catch(() => undefined)
    if (entry && path !== keep && entry.mtimeMs < Date.now() - leftoverAgeMs)
      await rm(path, { recursive: true, force: true })
  }
}

// --- PostgreSQL: a template database per content of the migrations

const unreachable = await probe()

async function probe(): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: adminUrl, connectionTimeoutMillis: 20_000 })
  client.on('error', () => {}) // reported by the query that follows
  try {
    await client.connect()
    await client.query('select 1')
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message || error.name : String(error)
  } finally {
    await client.end()
  }
}

async function asAdmin<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function databaseUrl(name: string): string {
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  return url.href
}

async function createPostgres(directory: string): Promise<{ url: string; remove: () => Promise<void> }> {
  const name = `hivesync_test_${Date.now().toString(36)}_${randomBytes(6).toString('hex')}`
  const hash = await hashMigrations(directory)
  await asAdmin(async (client) => {
    const template = await postgresTemplate(client, hash, directory)
    await client.query(`create database ${name} template ${template}`)
  })
  return {
    url: databaseUrl(name),
    remove: () => asAdmin(async (client) => void (await client.query(`drop database if exists ${name} with (force)`))),
  }
}

async function postgresTemplate(client: pg.Client, hash: string, directory: string): Promise<string> {
  const template = `hivesync_template_${hash}`
  // The lock ends with this client's session.
  await client.query("select pg_advisory_lock(hashtextextended('hivesync_template', 0))")
  const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [template])
  await removeLeftovers(client, rowCount === 0 ? 'test|template' : 'test')
  if (rowCount === 0) {
    // Migrated under another name first: a process that dies here leaves no half-made template.
    const building = `hivesync_test_${Date.now().toString(36)}_building`
    await client.query(`drop database if exists ${building} with (force)`)
    await client.query(`create database ${building}`)
    const database = await openDatabase(databaseUrl(building), patience)
    try {
      await migrate(database, { directory, now: Date.now })
    } finally {
      await database.close()
    }
    await client.query(`alter database ${building} rename to ${template}`)
    await client.query(`comment on database ${template} is '${Date.now().toString(36)}'`)
  }
  await client.query("select pg_advisory_unlock(hashtextextended('hivesync_template', 0))")
  return template
}

// A test's database carries its time in its name, a template in its comment. Without `force`: one in use stays.
async function removeLeftovers(client: pg.Client, kinds: 'test' | 'test|template'): Promise<void> {
  const { rows } = await client.query<{ name: string; made: string }>(`
    select datname as name, coalesce(substring(datname from '^hivesync_test_([0-9a-z]+)_'), shobj_description(oid, 'pg_database')) as made
    from pg_database where datname ~ '^hivesync_(${kinds})_' and not exists
      (select 1 from pg_stat_activity where pg_stat_activity.datname = pg_database.datname)`)
  for (const { name, made } of rows) {
    const madeAt = Number.parseInt(made, 36)
    if (!(madeAt < Date.now() - leftoverAgeMs)) continue
    try {
      await client.query(`drop database if exists ${name}`)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError && error.code === '55006')) throw error // 55006: a test began to use it
    }
  }
}
