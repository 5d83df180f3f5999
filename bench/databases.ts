import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'

const adminUrl = process.env.HIVESYNC_TEST_DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'

export interface PostgresServer {
  version: string
  fsync: string
  synchronousCommit: string
}

/** The PostgreSQL the benches may use; undefined when none answers. */
export async function findPostgres(): Promise<PostgresServer | undefined> {
  try {
    const [row] = await asAdmin(
      `select current_setting('server_version') v, current_setting('fsync') f, current_setting('synchronous_commit') s`,
    )
    return { version: String(row?.v), fsync: String(row?.f), synchronousCommit: String(row?.s) }
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined
    throw error
  }
}

const prefix = 'hivesync_bench_'
const quietWithinMs = 5000

/** A database of its own for this run. Those of runs that were cut off are removed first. */
export async function createPostgres(purpose: string): Promise<{ url: string; drop(): Promise<void> }> {
  await dropLeftovers()
  const name = `${prefix}${purpose}_${process.pid}`
  await asAdmin(`create database ${name}`)
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => dropDatabase(name) }
}

async function dropLeftovers(): Promise<void> {
  for (const { datname } of await asAdmin(`select datname from pg_database where datname like '${prefix}%'`)) {
    const pid = /_(\d+)$/.exec(String(datname))?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await dropDatabase(String(datname))
  }
}

/** Waits for connections that are just being closed: a pool says it has ended before the server has heard of it, and being cut off would be an error. */
async function dropDatabase(name: string): Promise<void> {
  const deadline = performance.now() + quietWithinMs
  for (;;) {
    const connected = await asAdmin(`select 1 from pg_stat_activity where datname = '${name}'`)
    if (connected.length === 0 || performance.now() > deadline) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await asAdmin(`drop database if exists ${name} with (force)`)
}

async function asAdmin(sql: string): Promise<Record<string, unknown>[]> {
  return queryPostgres(adminUrl, sql)
}

async function queryPostgres(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Runs one statement on a server's database beside the server: for what the API does not offer, such as a larger plan. */
export async function runSql(databaseUrl: string, sql: string): Promise<Record<string, unknown>[]> {
  if (!databaseUrl.startsWith('sqlite:')) return queryPostgres(databaseUrl, sql)
  const database = new DatabaseSync(databaseUrl.slice('sqlite:'.length), { timeout: 10_000 })
  try {
    return database.prepare(sql).all()
  } finally {
    database.close()
  }
}
