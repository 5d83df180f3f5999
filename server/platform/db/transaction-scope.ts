// One rule for both databases: inside a transaction's body everything goes through its own handle.
//
// The rule is kept with an AsyncLocalStorage per database. Without it, a body that writes through the outer handle
// waits on SQLite for a turn that its own transaction holds, and on PostgreSQL for a second connection of a pool that
// other such bodies have emptied: both are silent deadlocks, and both become a clear error here.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult } from 'kysely'
import { DatabaseError } from './database-error.ts'
import { requirePortableParameters } from './parameters.ts'

/** The life of one transaction, known to everything its body awaits. */
export class TransactionScope {
  active = true
  connection: GuardedConnection | undefined
  /** Rejects when the engine took the transaction away while its body was waiting for something else. */
  readonly lost: Promise<never>
  readonly lose: (error: Error) => void

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => {}) // a loss after the body has ended concerns nobody
    this.lost = promise
    this.lose = reject
  }
}

export type TransactionScopes = AsyncLocalStorage<TransactionScope>

/** One per database: a body of one database may well use another. */
export function createScopes(): TransactionScopes {
  return new AsyncLocalStorage<TransactionScope>()
}

/** What a driver's connection can do beyond Kysely's contract. */
export interface ScriptConnection extends DatabaseConnection {
  executeScript(text: string): Promise<void>
}

export interface ScriptDriver extends Driver {
  acquireConnection(): Promise<ScriptConnection>
}

/** A connection that knows whether its transaction is open, failed or over, and refuses alike on both databases. */
export class GuardedConnection implements DatabaseConnection {
  readonly inner: ScriptConnection
  state: 'free' | 'open' | 'aborted' | 'ended' = 'free'

  constructor(inner: ScriptConnection) {
    this.inner = inner
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return this.#run(() => {
      requirePortableParameters(query.parameters)
      return this.inner.executeQuery<R>(query)
    })
  }

  async executeScript(text: string): Promise<void> {
    return this.#run(() => this.inner.executeScript(text))
  }

  async #run<T>(statement: () => Promise<T>): Promise<T> {
    this.#requireUsable()
    try {
      return await statement()
    } catch (error) {
      // PostgreSQL aborts the transaction at its first failing statement; SQLite would go on.
      if (this.state === 'open') this.state = 'aborted'
      throw error
    }
  }

  #requireUsable(): void {
    if (this.state === 'ended') {
      throw new DatabaseError('transaction_ended', 'a statement came after the end of its transaction; await every one')
    }
    if (this.state === 'aborted') throw abortedError()
  }

  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    yield* []
    throw new Error('rows are not streamed: a cursor would hold a snapshot open for as long as its reader takes')
  }
}

function abortedError(): DatabaseError {
  return new DatabaseError('transaction_aborted', 'an earlier statement of this transaction failed')
}

/** Wraps a driver so that the rule above holds; `Database.transaction` is then the only way into a transaction. */
export function guardDriver(inner: ScriptDriver, scopes: TransactionScopes): Driver {
  return {
    init: () => inner.init(),
    destroy: () => inner.destroy(),
    async acquireConnection() {
      const scope = scopes.getStore()
      if (scope?.active && scope.connection) {
        throw new DatabaseError('outside_transaction', 'inside a transaction every query goes through its handle (tx)')
      }
      const connection = new GuardedConnection(await inner.acquireConnection())
      if (scope?.active) scope.connection = connection
      return connection
    },
    async beginTransaction(connection, settings) {
      if (!scopes.getStore()?.active) {
        throw new DatabaseError('outside_transaction', 'transactions begin with Database.transaction()')
      }
      const guarded = requireGuarded(connection)
      await inner.beginTransaction(guarded.inner, settings)
      guarded.state = 'open'
    },
    async commitTransaction(connection) {
      const guarded = requireGuarded(connection)
      if (guarded.state !== 'open') throw abortedError()
      guarded.state = 'ended'
      await inner.commitTransaction(guarded.inner)
    },
    async rollbackTransaction(connection) {
      const guarded = requireGuarded(connection)
      guarded.state = 'ended'
      try {
        await inner.rollbackTransaction(guarded.inner)
      } catch {
        // The connection is gone, and the transaction with it; what led here is the error worth reporting.
      }
    },
    async releaseConnection(connection) {
      await inner.releaseConnection(requireGuarded(connection).inner)
    },
  }
}

function requireGuarded(connection: DatabaseConnection): GuardedConnection {
  if (connection instanceof GuardedConnection) return connection
  throw new TypeError('a connection of another driver')
}
