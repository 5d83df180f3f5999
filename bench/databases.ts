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

/** A database of its own; `drop` ends whatever is still connected. */
export async function createPostgres(purpose: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `hivesync_bench_${purpose}_${process.pid}`
  await asAdmin(`create database ${name}`)
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  return {
    url: url.href,
    drop: async () => void (await asAdmin(`drop database if exists ${name} with (force)`)),
  }
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
