// For what only reads, beside a server that works: SQLite's lock on the file is the server's, and a reader needs none (write-ahead log).
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { CamelCasePlugin, Kysely, SqliteDialect } from 'kysely'
import { DatabaseError } from './database-error.ts'
import type { Schema } from './schema.ts'
import { sqlitePath } from './sqlite-files.ts'
import { createScopes } from './transaction-scope.ts'

export interface ReadOnlyDatabase {
  readonly kysely: Kysely<Schema>
  close(): Promise<void>
}

/** Opens the database for reading, also while a server works on it; every attempt to write is refused by the database. Throws DatabaseError for a SQLite file that is not there. */
export async function openReadOnly(url: string): Promise<ReadOnlyDatabase> {
  const plugins = [new CamelCasePlugin()]
  if (url.startsWith('sqlite:')) {
    const dialect = new SqliteDialect({ database: new ReadOnlyFile(sqlitePath(url)) })
    const kysely = new Kysely<Schema>({ dialect, plugins })
    return { kysely, close: () => kysely.destroy() }
  }
  const { createPool, postgresDialect } = await import('./postgres.ts')
  const patience = { connectTimeoutMs: 10_000, statementTimeoutMs: 0, transactionTimeoutMs: 0 }
  const readOnlyUrl = new URL(url)
  const given = readOnlyUrl.searchParams.get('options')
  readOnlyUrl.searchParams.set('options', `${given === null ? '' : `${given} `}-c default_transaction_read_only=on`)
  const pool = createPool(readOnlyUrl.href, { poolSize: 1, ...patience, onFault: () => {} })
  const kysely = new Kysely<Schema>({ dialect: postgresDialect(pool, createScopes()), plugins })
  return { kysely, close: () => kysely.destroy() }
}

/** What Kysely's dialect asks of a connection, over node:sqlite. */
class ReadOnlyFile {
  readonly #database: DatabaseSync

  constructor(path: string) {
    try {
      this.#database = new DatabaseSync(path, { readOnly: true, timeout: 10_000 })
    } catch (cause) {
      throw new DatabaseError('database_url_invalid', `${path} cannot be opened for reading`, { cause })
    }
  }

  prepare(sql: string) {
    const statement = this.#database.prepare(sql)
    // Numbers of JavaScript are bound as REAL, and 3 in a text column would become '3.0'.
    const bound = (parameters: readonly unknown[]): SQLInputValue[] =>
      parameters.map((value) => (Number.isInteger(value) ? BigInt(value as number) : (value as SQLInputValue)))
    return {
      reader: statement.columns().length > 0,
      all: (parameters: readonly unknown[]) => statement.all(...bound(parameters)),
      run: (parameters: readonly unknown[]) => statement.run(...bound(parameters)),
      iterate: (parameters: readonly unknown[]) => statement.iterate(...bound(parameters)),
    }
  }

  close(): void {
    this.#database.close()
  }
}
