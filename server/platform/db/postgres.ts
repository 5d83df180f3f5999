// Kysely's PostgreSQL dialect over a pg pool whose clients parse, time out and fail as this project needs.
import { CompiledQuery, type DatabaseConnection, type Dialect, type Driver, PostgresDialect } from 'kysely'
import pg from 'pg'
import { DatabaseError } from './database-error.ts'
import { sqlState } from './sql-state.ts'
import {
  guardDriver,
  type ScriptConnection,
  type ScriptDriver,
  type TransactionScope,
  type TransactionScopes,
} from './transaction-scope.ts'

export interface PostgresOptions {
  /** Connections of this process; the server's max_connections is shared by all replicas. */
  poolSize: number
  /** The wait for a connection, or for a free place in the pool: an answer, late, instead of a hang. */
  connectTimeoutMs: number
  /** A statement that runs longer is canceled by the server. */
  statementTimeoutMs: number
  /** A transaction that waits this long between its statements is ended by the server. */
  transactionTimeoutMs: number
  onFault: (error: Error) => void
}

/** A pool for the URL. Nothing connects yet; errors never quote the URL, which may hold a password. */
export function createPool(url: string, options: PostgresOptions): pg.Pool {
  if (!URL.canParse(url)) throw new DatabaseError('database_url_invalid', 'not a valid postgres:// URL')
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'hivesync',
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    statement_timeout: options.statementTimeoutMs,
    idle_in_transaction_session_timeout: options.transactionTimeoutMs,
    types: { getTypeParser },
  })
  pool.on('error', options.onFault)
  pool.on('connect', (client) => {
    // pg-pool listens for errors of idle clients only; one that is killed while checked out would end the process.
    client.on('error', (error) => owners.get(client)?.lose(lostError(error)))
  })
  pool.on('release', (_error, client) => owners.delete(client))
  return pool
}

const owners = new WeakMap<pg.ClientBase, TransactionScope>()

// 25P03 idle_in_transaction_session_timeout: https://www.postgresql.org/docs/15/errcodes-appendix.html
function lostError(error: Error): Error {
  if (sqlState(error) !== '25P03') return error
  return new DatabaseError('transaction_timeout', 'a transaction idled; a body may only await its own statements', {
    cause: error,
  })
}

const oid = { bool: 16, bytea: 17, int8: 20, numeric: 1700 }

// What SQLite gives for the same query: numbers for bigint, count() and sum(); 1 and 0 for conditions; plain bytes.
function getTypeParser(id: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (format !== 'binary') {
    if (id === oid.int8 || id === oid.numeric) return parseNumber
    if (id === oid.bool) return (text) => (text === 't' ? 1 : 0)
    if (id === oid.bytea) return (text) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))
  }
  return pg.types.getTypeParser(id, format)
}

function parseNumber(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new DatabaseError('value_out_of_range', 'an integer beyond 2^53 cannot be a JavaScript number')
  }
  return number
}

/** Kysely's dialect for one pool. */
export function postgresDialect(pool: pg.Pool, scopes: TransactionScopes): Dialect {
  const dialect = new PostgresDialect({
    pool: {
      async connect() {
        const client = await pool.connect()
        const scope = scopes.getStore()
        if (scope?.active) owners.set(client, scope)
        return client
      },
      end: () => pool.end(),
      options: pool.options,
      Client: pg.Client,
    },
  })
  return {
    createDriver: () => guardDriver(postgresDriver(dialect.createDriver()), scopes),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (db) => dialect.createIntrospector(db),
  }
}

class PostgresScriptConnection implements ScriptConnection {
  readonly inner: DatabaseConnection

  constructor(inner: DatabaseConnection) {
    this.inner = inner
  }

  executeQuery: DatabaseConnection['executeQuery'] = (query) => this.inner.executeQuery(query)

  // Without parameters pg uses the simple protocol, which takes several statements at once.
  async executeScript(text: string): Promise<void> {
    await this.inner.executeQuery(CompiledQuery.raw(text))
  }

  streamQuery: DatabaseConnection['streamQuery'] = (query, chunkSize) => this.inner.streamQuery(query, chunkSize)
}

function postgresDriver(driver: Driver): ScriptDriver {
  const own = (connection: unknown): DatabaseConnection => {
    if (connection instanceof PostgresScriptConnection) return connection.inner
    throw new TypeError('a connection of another driver')
  }
  return {
    init: () => driver.init(),
    acquireConnection: async () => new PostgresScriptConnection(await driver.acquireConnection()),
    beginTransaction: (connection, settings) => driver.beginTransaction(own(connection), settings),
    commitTransaction: (connection) => driver.commitTransaction(own(connection)),
    rollbackTransaction: (connection) => driver.rollbackTransaction(own(connection)),
    releaseConnection: (connection) => driver.releaseConnection(own(connection)),
    destroy: () => driver.destroy(),
  }
}
