// Kysely on PostgreSQL over a pg pool whose clients parse, time out and fail as this project needs.
import {
  type CompiledQuery,
  type Dialect,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely'
import pg from 'pg'
import { createDatabaseCounts, type DatabaseCounts } from './database-counts.ts'
import { DatabaseError } from './database-error.ts'
import { getTypeParser } from './postgres-types.ts'
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
    // `begin` travels with the first statement.
    pipeline: true,
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

/** Kysely's dialect for one pool. */
export function postgresDialect(pool: pg.Pool, scopes: TransactionScopes, counts = createDatabaseCounts()): Dialect {
  return {
    createDriver: () => guardDriver(postgresDriver(pool, scopes, counts), scopes),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  }
}

/** Changed rows are counted for these, as Kysely does. */
const changing: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

class PostgresConnection implements ScriptConnection {
  readonly #client: pg.PoolClient
  readonly #names: StatementNames
  #beginning: Promise<unknown> | undefined
  #isBroken = false

  constructor(client: pg.PoolClient, names: StatementNames) {
    this.#client = client
    this.#names = names
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { command, rowCount, rows } = await this.#send({
      text: sql,
      values: [...parameters],
      name: this.#names.find(sql),
    })
    return { rows: rows as R[], ...(changing.has(command) && { numAffectedRows: BigInt(rowCount ?? 0) }) }
  }

  // Without parameters pg uses the simple protocol, which takes several statements at once.
  async executeScript(text: string): Promise<void> {
    await this.#send({ text })
  }

  /** Begins without waiting: the word goes out with the first statement, and is answered with it. */
  begin(text: string): void {
    this.#beginning = this.#client.query(text)
    this.#beginning.catch(() => {}) // told to the statement that waits for it
  }

  async commit(): Promise<void> {
    const { command } = await this.#send({ text: 'commit' })
    if (command === 'ROLLBACK') throw new DatabaseError('transaction_aborted', 'an earlier statement failed')
  }

  async rollback(): Promise<void> {
    try {
      await this.#send({ text: 'rollback' })
    } catch (error) {
      this.#isBroken = true
      throw error
    }
  }

  release(): void {
    this.#client.release(this.#isBroken)
  }

  async #send(query: pg.QueryConfig): Promise<pg.QueryResult> {
    const beginning = this.#beginning
    this.#beginning = undefined
    const [result] = await Promise.all([this.#client.query(query), beginning])
    return result
  }

  // biome-ignore lint/correctness/useYield: the guard refuses streaming before this
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('rows are not streamed')
  }
}

async function connect(pool: pg.Pool, counts: DatabaseCounts): Promise<pg.PoolClient> {
  if (pool.idleCount > 0) return pool.connect()
  const startedAt = performance.now()
  try {
    return await pool.connect()
  } finally {
    counts.poolWaits++
    counts.poolWaitMs += performance.now() - startedAt
  }
}

interface StatementNames {
  /** The name under which sessions keep the statement prepared; undefined for one that is not. */
  find(text: string): string | undefined
}

/** A text this frequent is kept prepared by each session: parsing and planning a claim costs as much as running it. */
const usesBeforeNaming = 20
/** What a session keeps costs the database memory, some 30 KB for a statement. */
const maxNames = 100
/** Texts counted, after which counting begins anew: lists of varying length make many that are rare. */
const maxCounted = 1000

/** `*` stands for the columns of the day it was prepared: the next version's migration would fail it in each session of this one. */
const everyColumn = /(\bselect|\breturning|[,.])\s*\*/i

function createNames(): StatementNames {
  const names = new Map<string, string>()
  let uses = new Map<string, number>()
  return {
    find(text) {
      const name = names.get(text)
      if (name !== undefined || names.size === maxNames) return name
      if (everyColumn.test(text)) return undefined
      const count = (uses.get(text) ?? 0) + 1
      if (uses.size >= maxCounted) uses = new Map()
      uses.set(text, count)
      if (count === usesBeforeNaming) names.set(text, `s${names.size}`)
      return undefined
    },
  }
}

function postgresDriver(pool: pg.Pool, scopes: TransactionScopes, counts: DatabaseCounts): ScriptDriver {
  const names = createNames()
  const own = (connection: unknown): PostgresConnection => {
    if (connection instanceof PostgresConnection) return connection
    throw new TypeError('a connection of another driver')
  }
  return {
    async init() {},
    async acquireConnection() {
      const client = await connect(pool, counts)
      const scope = scopes.getStore()
      if (scope?.active) owners.set(client, scope)
      return new PostgresConnection(client, names)
    },
    async beginTransaction(connection) {
      own(connection).begin('begin')
    },
    commitTransaction: (connection) => own(connection).commit(),
    rollbackTransaction: (connection) => own(connection).rollback(),
    async releaseConnection(connection) {
      own(connection).release()
    },
    destroy: () => pool.end(),
  }
}
