// Group commit: the transactions that are waiting share one BEGIN … COMMIT, each in a savepoint of its own, run one
// after the other; nobody is answered before the COMMIT is on the disk. With synchronous=FULL a commit costs an fsync
// (about 0.6 ms: 1,629 single commits/s in reference measurements), which the group pays once.
import type { DatabaseSync } from 'node:sqlite'
import { DatabaseError } from './database-error.ts'

/** How often a request gives way between its arrival and its transaction: authentication, its batch, its turn. On a quiet server so many turns take 20 µs. */
const quietTurns = 4

/** One transaction's place in a group. */
export class Turn {
  readonly granted = Promise.withResolvers<void>()
  readonly settled = Promise.withResolvers<void>()
  readonly ended = Promise.withResolvers<'kept' | 'undone'>()
  /** Set when the turn was taken away; its later statements are refused with it. */
  failure: Error | undefined
  isOver = false
  readonly onLost: (error: Error) => void

  constructor(onLost: (error: Error) => void) {
    this.onLost = onLost
    this.settled.promise.catch(() => {}) // read by end(); a turn taken away may have no reader
  }

  /** Ends the turn; resolves once its fate is on the disk, rejects if it was lost. */
  end(how: 'kept' | 'undone'): Promise<void> {
    if (!this.isOver) {
      this.isOver = true
      this.ended.resolve(how)
    }
    return this.settled.promise
  }

  /** Takes the turn away: the body's waiting statements, and the body itself, fail with this error. */
  fail(error: Error): void {
    this.failure = error
    this.isOver = true
    this.granted.reject(error)
    this.settled.reject(error)
    this.onLost(error)
  }
}

export interface GroupOptions {
  /** Longer than this no transaction keeps the others waiting. */
  transactionTimeoutMs: number
  /**
   * A group that has run this long commits and lets the process read its sockets: statements are synchronous, so the
   * members of a group run without a pause between them.
   */
  groupBudgetMs: number
  onFault: (error: Error) => void
}

export class GroupCommit {
  readonly #writer: DatabaseSync
  readonly #run: (sql: string) => void
  readonly #options: GroupOptions
  #waiting: Turn[] = []
  #draining: Promise<void> | undefined
  #isClosed = false
  /** Groups committed so far; tests and metrics read it. */
  groups = 0

  /** `run` executes one statement on the writer, from its cache. */
  constructor(writer: DatabaseSync, run: (sql: string) => void, options: GroupOptions) {
    this.#writer = writer
    this.#run = run
    this.#options = options
  }

  /** Resolves when the turn has the writer to itself, in its own savepoint. */
  async enter(onLost: (error: Error) => void): Promise<Turn> {
    if (this.#isClosed) throw new DatabaseError('database_closed', 'the database is closed')
    const turn = new Turn(onLost)
    this.#waiting.push(turn)
    this.#draining ??= this.#drain()
    await turn.granted.promise
    return turn
  }

  /** Refuses new turns and resolves when the waiting ones are settled. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#draining
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // setImmediate, not a microtask: the requests of this tick gather, and the replies of the last group go out.
      await new Promise((resolve) => setImmediate(resolve))
      await this.#runGroup()
    }
    this.#draining = undefined
  }

  async #runGroup(): Promise<void> {
    try {
      if (this.#writer.isTransaction) this.#run('rollback') // left over when a rollback itself failed
      this.#run('begin immediate')
    } catch (error) {
      const refused = this.#waiting
      this.#waiting = []
      for (const turn of refused) turn.fail(asError(error))
      return
    }
    this.groups++
    const kept: Turn[] = []
    const startedAt = performance.now()
    for (let turn = await this.#next(); turn; turn = await this.#next()) {
      const isIntact = await this.#runMember(turn, kept)
      if (!isIntact) return
      if (performance.now() - startedAt > this.#options.groupBudgetMs) break
    }
    this.#commit(kept)
  }

  /** The next that waits, or that comes within a few turns of the event loop: requests on their way here had better not wait for this group's fsync, and pay one more. */
  async #next(): Promise<Turn | undefined> {
    for (let turns = 0; this.#waiting.length === 0 && turns < quietTurns; turns++)
      await new Promise((resolve) => setImmediate(resolve))
    return this.#waiting.shift()
  }

  /** False when the engine has rolled the whole group back. */
  async #runMember(turn: Turn, kept: Turn[]): Promise<boolean> {
    try {
      this.#run('savepoint member')
      const how = await this.#awaitEnd(turn)
      if (!this.#writer.isTransaction) throw new Error('the engine rolled the transaction back')
      if (how === 'kept') {
        this.#run('release member')
        kept.push(turn)
      } else {
        this.#run('rollback to member')
        this.#run('release member')
        turn.settled.resolve()
      }
      return true
    } catch (error) {
      this.#abandon([...kept, turn], error)
      return false
    }
  }

  async #awaitEnd(turn: Turn): Promise<'kept' | 'undone'> {
    const { transactionTimeoutMs, onFault } = this.#options
    const timer = setTimeout(() => {
      const error = new DatabaseError(
        'transaction_timeout',
        `a transaction held the database for ${transactionTimeoutMs} ms; a body may only await its own statements`,
      )
      turn.fail(error)
      turn.ended.resolve('undone')
      onFault(error)
    }, transactionTimeoutMs)
    turn.granted.resolve()
    try {
      return await turn.ended.promise
    } finally {
      clearTimeout(timer)
    }
  }

  #commit(kept: Turn[]): void {
    try {
      this.#run('commit')
    } catch (error) {
      this.#abandon(kept, error)
      return
    }
    for (const turn of kept) turn.settled.resolve()
  }

  #abandon(turns: Turn[], cause: unknown): void {
    try {
      if (this.#writer.isTransaction) this.#run('rollback')
    } catch (error) {
      this.#options.onFault(asError(error)) // the next group tries again before it begins
    }
    for (const turn of turns) {
      turn.fail(new DatabaseError('group_rolled_back', 'nothing of the shared commit was kept', { cause }))
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
