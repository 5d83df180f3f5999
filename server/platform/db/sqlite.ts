// Kysely over node:sqlite. Statements are synchronous; what is awaited is a turn in the group and its COMMIT.
import {
  type CompiledQuery,
  type Dialect,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import type { Turn } from './group-commit.ts'
import type { SqliteStore } from './sqlite-store.ts'
import { guardDriver, type ScriptConnection, type ScriptDriver, type TransactionScopes } from './transaction-scope.ts'

/** Kysely's dialect for one open file. */
export function sqliteDialect(store: SqliteStore, scopes: TransactionScopes): Dialect {
  return {
    createDriver: () => guardDriver(sqliteDriver(store, scopes), scopes),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createAdapter: () => new GroupingAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
  }
}

class GroupingAdapter extends SqliteAdapter {
  // false would hold Kysely's own mutex over the COMMIT, and nothing would ever group.
  override get supportsMultipleConnections(): boolean {
    return true
  }

  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

class SqliteConnection implements ScriptConnection {
  readonly #store: SqliteStore
  turn: Turn | undefined

  constructor(store: SqliteStore) {
    this.#store = store
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.turn) {
      requireHeld(this.turn)
      return this.#store.writer.execute(query.sql, query.parameters)
    }
    if (isRead(query)) return this.#store.reader.execute(query.sql, query.parameters)
    return this.#inOwnTurn(() => this.#store.writer.execute<R>(query.sql, query.parameters))
  }

  async executeScript(text: string): Promise<void> {
    if (!this.turn) return this.#inOwnTurn(() => this.#store.writer.database.exec(text))
    requireHeld(this.turn)
    this.#store.writer.database.exec(text)
  }

  async #inOwnTurn<T>(statement: () => T): Promise<T> {
    const turn = await this.#store.group.enter(() => {})
    let result: T
    try {
      result = statement()
    } catch (error) {
      await turn.end('undone').catch(() => {}) // the statement's error says more than the loss of its group
      throw error
    }
    await turn.end('kept')
    return result
  }

  // biome-ignore lint/correctness/useYield: the guard refuses streaming before this
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('rows are not streamed')
  }
}

function requireHeld(turn: Turn): void {
  if (turn.failure) throw turn.failure
}

// Anything else, such as a raw `with`, may write and takes a turn.
function isRead(query: CompiledQuery): boolean {
  if (query.query.kind === 'SelectQueryNode') return true
  return query.query.kind === 'RawNode' && /^\s*(select|explain)\b/i.test(query.sql)
}

function sqliteDriver(store: SqliteStore, scopes: TransactionScopes): ScriptDriver {
  const own = (connection: unknown): SqliteConnection => {
    if (connection instanceof SqliteConnection) return connection
    throw new TypeError('a connection of another driver')
  }
  return {
    async init() {},
    acquireConnection: async () => new SqliteConnection(store),
    async beginTransaction(connection) {
      const scope = scopes.getStore()
      own(connection).turn = await store.group.enter((error) => scope?.lose(error))
    },
    commitTransaction: async (connection) => own(connection).turn?.end('kept'),
    rollbackTransaction: async (connection) => own(connection).turn?.end('undone'),
    async releaseConnection() {},
    destroy: () => store.close(),
  }
}
