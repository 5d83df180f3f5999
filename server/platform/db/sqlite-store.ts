import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { QueryResult } from 'kysely'
import { GroupCommit, type GroupOptions } from './group-commit.ts'
import { createPrivateFile, lockDatabase } from './sqlite-files.ts'

// A statement's text comes from code, never from input, so there are few; the bound only guards against lists of
// varying length (`in (?, ?, …)`).
const maxCachedStatements = 500

// case_sensitive_like: PostgreSQL's LIKE is. trusted_schema=off: functions in a tampered schema cannot run.
// journal_size_limit: a burst does not leave a large -wal behind.
const pragmas = `
  pragma foreign_keys = on;
  pragma case_sensitive_like = on;
  pragma trusted_schema = off;
  pragma temp_store = memory;
  pragma cache_size = -32768;
  pragma busy_timeout = 5000;
`
const writerPragmas = `
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma journal_size_limit = 67108864;
`

interface CachedStatement {
  statement: StatementSync
  hasRows: boolean
}

/** One connection and its prepared statements, the least recently used dropped first. */
class CachedConnection {
  readonly database: DatabaseSync
  readonly #cache = new Map<string, CachedStatement>()

  constructor(database: DatabaseSync) {
    this.database = database
  }

  execute<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    const { statement, hasRows } = this.#prepare(sql)
    const values = parameters.map(toSqlite)
    if (!hasRows) return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) }
    const rows = statement.all(...values) as R[] // the caller's query states its rows' type, as with any driver
    return { rows, numAffectedRows: BigInt(rows.length) }
  }

  #prepare(sql: string): CachedStatement {
    let cached = this.#cache.get(sql)
    if (cached) {
      this.#cache.delete(sql)
    } else {
      const statement = this.database.prepare(sql)
      cached = { statement, hasRows: statement.columns().length > 0 }
      const oldest = this.#cache.keys().next().value
      if (oldest !== undefined && this.#cache.size >= maxCachedStatements) this.#cache.delete(oldest)
    }
    this.#cache.set(sql, cached)
    return cached
  }
}

// node:sqlite binds every number as REAL: `? / 2` would differ from PostgreSQL, and 3 in a text column become '3.0'.
function toSqlite(value: unknown): SQLInputValue {
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value) : (value as SQLInputValue)
}

/** The open file: one writer, one read-only reader, the group commit between them, and the lock on the file. */
export class SqliteStore {
  readonly writer: CachedConnection
  readonly reader: CachedConnection
  readonly group: GroupCommit
  readonly #lock: { release(): void }

  constructor(path: string, options: GroupOptions) {
    this.#lock = lockDatabase(path)
    const opened: DatabaseSync[] = []
    try {
      createPrivateFile(path)
      const writer = new DatabaseSync(path)
      opened.push(writer)
      writer.enableDefensive(true)
      writer.exec(pragmas + writerPragmas)
      const reader = new DatabaseSync(path, { readOnly: true })
      opened.push(reader)
      reader.exec(pragmas)
      this.writer = new CachedConnection(writer)
      this.reader = new CachedConnection(reader)
    } catch (error) {
      for (const database of opened) database.close()
      this.#lock.release()
      throw error
    }
    this.group = new GroupCommit(this.writer.database, (sql) => void this.writer.execute(sql, []), options)
  }

  /** Waits for the transactions under way, then closes; the last close moves the -wal into the file. */
  async close(): Promise<void> {
    await this.group.close()
    if (!this.writer.database.isOpen) return
    this.reader.database.close()
    this.writer.database.close()
    this.#lock.release()
  }
}
