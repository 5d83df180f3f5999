// The one way to the database. Kysely on SQLite (embedded) and on PostgreSQL (cluster), with the same results on both.
import { setTimeout as delay } from 'node:timers/promises'
import { CamelCasePlugin, type Dialect, Kysely, sql, type Transaction } from 'kysely'
import { secureRandomBytes } from '../crypto/hash.ts'
import { AppError } from '../errors.ts'
import { createDatabaseCounts, type DatabaseCounts } from './database-counts.ts'
import { DatabaseError } from './database-error.ts'
import type { Schema } from './schema.ts'
import { isRetryable } from './sql-state.ts'
import { sqliteDialect } from './sqlite.ts'
import { sqlitePath } from './sqlite-files.ts'
import { SqliteStore } from './sqlite-store.ts'
import { createScopes, TransactionScope } from './transaction-scope.ts'

/** What a query function takes: the handle of a transaction, or the database itself. */
export type Db = Kysely<Schema> | Transaction<Schema>

export interface DatabaseLog {
  warn(fields: { code: string; message: string }, text: string): void
}

export interface DatabaseOptions {
  log?: DatabaseLog
  /** How long a transaction may keep others waiting (SQLite: in all; PostgreSQL: between two statements). */
  transactionTimeoutMs?: number
  /** PostgreSQL: a statement that runs longer is canceled. */
  statementTimeoutMs?: number
  /** PostgreSQL: how long a connection, or a free place in the pool, is waited for. */
  connectTimeoutMs?: number
  /** PostgreSQL: connections of this process. */
  poolSize?: number
  /** SQLite: how long transactions run before they commit together, whoever still waits. */
  groupBudgetMs?: number
  /** Spreads the retries of a transaction; gives numbers in [0, 1). */
  random?: () => number
}

export interface Database {
  readonly kysely: Kysely<Schema>
  readonly dialect: 'sqlite' | 'postgres'
  /** What it has done since it was opened. */
  counts(): DatabaseCounts
  /**
   * Runs the body in one transaction and resolves when it is durable. The body awaits only its own statements, all
   * through `tx`; on PostgreSQL it runs again after a deadlock or serialization failure, so it changes nothing outside.
   */
  transaction<T>(body: (tx: Transaction<Schema>) => Promise<T>): Promise<T>
  /** Runs several statements of trusted text; inside a transaction's body, as part of that transaction. */
  runScript(text: string): Promise<void>
  /** Rejects when the database does not answer. */
  ping(): Promise<void>
  /** Waits for the transactions under way, then closes. */
  close(): Promise<void>
}

// Five tries: what still collides then is a hot spot to be seen, not to be hidden.
const maxAttempts = 5
const retryBaseMs = 10

/** Opens `sqlite:<path>` (for this process alone, else `database_in_use`) or `postgres://…`; applies no migrations. */
export async function openDatabase(url: string, options: DatabaseOptions = {}): Promise<Database> {
  const scopes = createScopes()
  const counts = createDatabaseCounts()
  const {
    log,
    transactionTimeoutMs = 5_000,
    statementTimeoutMs = 30_000,
    connectTimeoutMs = 10_000,
    poolSize = 10,
    groupBudgetMs = 10, // against a commit of 0.6 ms (reference measurements: 1,629/s) that is 6 % of overhead
    random = randomFraction,
  } = options
  // Never the error itself: pg-pool hangs the client, with its configuration, on it.
  const onFault = (error: Error): void => log?.warn({ code: codeOf(error), message: error.message }, 'database fault')

  let dialect: Dialect
  let close: () => Promise<void>
  let countGroups = (): number => 0
  const isSqlite = url.startsWith('sqlite:')
  if (isSqlite) {
    const store = new SqliteStore(sqlitePath(url), { transactionTimeoutMs, groupBudgetMs, onFault })
    dialect = sqliteDialect(store, scopes)
    close = () => store.close()
    countGroups = () => store.group.groups
  } else if (/^postgres(ql)?:\/\//.test(url)) {
    // Loaded only here: 43 ms and 16 modules that an embedded start does not need.
    const { createPool, postgresDialect } = await import('./postgres.ts')
    const pool = createPool(url, { poolSize, connectTimeoutMs, statementTimeoutMs, transactionTimeoutMs, onFault })
    dialect = postgresDialect(pool, scopes, counts)
    close = async () => {
      if (!pool.ending) await pool.end()
    }
  } else {
    throw new DatabaseError('database_url_invalid', 'the URL begins with sqlite: or postgres://')
  }
  const kysely = new Kysely<Schema>({ dialect, plugins: [new CamelCasePlugin()] })

  async function attempt<T>(body: (tx: Transaction<Schema>) => Promise<T>): Promise<T> {
    const scope = new TransactionScope()
    try {
      return await scopes.run(scope, () => kysely.transaction().execute((tx) => Promise.race([body(tx), scope.lost])))
    } finally {
      scope.active = false
    }
  }

  const database: Database = {
    kysely,
    dialect: isSqlite ? 'sqlite' : 'postgres',
    counts: () => ({ ...counts, groups: countGroups() }),
    async transaction(body) {
      if (scopes.getStore()?.active) {
        throw new DatabaseError('transaction_nested', 'a transaction inside a transaction; pass tx on instead')
      }
      for (let tries = 1; ; tries++) {
        try {
          const result = await attempt(body)
          counts.committed++
          return result
        } catch (error) {
          if (tries === maxAttempts || !isRetryable(error)) {
            // A refusal undoes what it refuses; nothing has failed.
            if (error instanceof AppError) counts.refused++
            else counts.failed++
            throw error
          }
        }
        counts.retried++
        await delay(random() * retryBaseMs * 2 ** tries)
      }
    },
    async runScript(text) {
      const scope = scopes.getStore()
      if (scope?.active && scope.connection) return scope.connection.executeScript(text)
      return attempt(() => database.runScript(text))
    },
    async ping() {
      await sql`select 1`.execute(kysely)
    },
    close,
  }
  return database
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

function randomFraction(): number {
  return Buffer.from(secureRandomBytes(4)).readUInt32BE() / 2 ** 32
}
