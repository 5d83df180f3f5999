// Everything that differs between the two databases, each with two bodies and one test run on both.
import {
  type Expression,
  type Kysely,
  PostgresAdapter,
  type RawBuilder,
  type SelectQueryBuilder,
  type SqlBool,
  sql,
} from 'kysely'
import type { Db } from './db.ts'
import { sqlState } from './sql-state.ts'

/** Which database a handle talks to. */
export function dialectOf<S>(db: Kysely<S>): 'sqlite' | 'postgres' {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}

/** Locks the rows read until the transaction ends. On SQLite a transaction has the whole database already. */
export function forUpdate<S, T extends keyof S, O>(
  tx: Kysely<S>,
  query: SelectQueryBuilder<S, T, O>,
): SelectQueryBuilder<S, T, O> {
  return dialectOf(tx) === 'postgres' ? query.forUpdate() : query
}

/** Keeps the rows read from being changed until the transaction ends, and lets others do the same. */
export function forShare<S, T extends keyof S, O>(
  tx: Kysely<S>,
  query: SelectQueryBuilder<S, T, O>,
): SelectQueryBuilder<S, T, O> {
  return dialectOf(tx) === 'postgres' ? query.forShare() : query
}

/** Like forUpdate, but passes over rows that another transaction holds; on SQLite there never are any. */
export function forUpdateSkipLocked<S, T extends keyof S, O>(
  tx: Kysely<S>,
  query: SelectQueryBuilder<S, T, O>,
): SelectQueryBuilder<S, T, O> {
  return dialectOf(tx) === 'postgres' ? query.forUpdate().skipLocked() : query
}

/** The larger of two values; a null counts as absent, as in PostgreSQL (SQLite's max() would answer null). */
export function greatest<V, S>(db: Kysely<S>, a: Expression<V> | V, b: Expression<V> | V): RawBuilder<V> {
  return dialectOf(db) === 'postgres'
    ? sql<V>`greatest(${a}, ${b})`
    : sql<V>`max(coalesce(${a}, ${b}), coalesce(${b}, ${a}))`
}

/** The smaller of two values; a null counts as absent. */
export function least<V, S>(db: Kysely<S>, a: Expression<V> | V, b: Expression<V> | V): RawBuilder<V> {
  return dialectOf(db) === 'postgres'
    ? sql<V>`least(${a}, ${b})`
    : sql<V>`min(coalesce(${a}, ${b}), coalesce(${b}, ${a}))`
}

/**
 * Whether a column's text is one of the values, which travel as one parameter: a list that people make longer outgrows those of a statement (SQLite: 32,766). An
 * index of the column serves it on both.
 */
export function isOneOf<S>(db: Kysely<S>, column: string, values: readonly string[]): RawBuilder<SqlBool> {
  return dialectOf(db) === 'postgres'
    ? sql<SqlBool>`${sql.ref(column)} = any (${arrayText(values)}::text::text[])`
    : sql<SqlBool>`${sql.ref(column)} in (select value from json_each(${JSON.stringify(values)}))`
}

/** The values as PostgreSQL writes an array: https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO */
export function arrayText(values: readonly (string | number)[]): string {
  return `{${values.map((value) => `"${String(value).replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}

/** The texts of a group, a line each; null of an empty group. */
export function joinedLines<S>(db: Kysely<S>, text: RawBuilder<string>): RawBuilder<string | null> {
  return dialectOf(db) === 'postgres' ? sql`string_agg(${text}, chr(10))` : sql`group_concat(${text}, char(10))`
}

/**
 * Waits until no other transaction holds the name, and holds it until this one ends. On SQLite transactions run one at
 * a time, so there is nothing to wait for.
 */
export function withLock(tx: Db, name: string): Promise<void> {
  return withLocks(tx, [name])
}

/** The same for several names, in an order that is the same for everybody. */
export async function withLocks(tx: Db, names: readonly string[]): Promise<void> {
  if (!tx.isTransaction) throw new TypeError('withLock needs a transaction: the lock lasts until its end')
  if (names.length === 0 || dialectOf(tx) === 'sqlite') return
  const list = JSON.stringify(names)
  await sql`select pg_advisory_xact_lock(hash) from (
    select distinct hashtextextended(name, 0) as hash from jsonb_array_elements_text(${list}::text::jsonb) as name
    order by hash offset 0) as ordered`.execute(tx)
}

/** Whether the statement named a row, in another table, that is not there. */
export function isForeignKeyViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  // SQLITE_CONSTRAINT_FOREIGNKEY, SQLSTATE foreign_key_violation.
  return ('errcode' in error && error.errcode === 787) || sqlState(error) === '23503'
}

/**
 * The constraint that refused a row as a duplicate, as `users(email_key)` or `team_members(team_id,user_id)` with the
 * database's names; an index over an expression answers its own name. Undefined for every other error. On both
 * databases the transaction has failed with it: to go on, insert with `on conflict` instead.
 */
export function isUniqueViolation(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  return sqliteUniqueViolation(error) ?? postgresUniqueViolation(error)
}

// SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID: https://sqlite.org/rescode.html
const sqliteUniqueCodes: unknown[] = [1555, 2067, 2579]

function sqliteUniqueViolation(error: Error): string | undefined {
  if (!('errcode' in error) || !sqliteUniqueCodes.includes(error.errcode)) return undefined
  const [, what = ''] = /^UNIQUE constraint failed: (.*)$/.exec(error.message) ?? []
  const [, index] = /^index '(.*)'$/.exec(what) ?? []
  if (index !== undefined) return index
  const columns = what.split(', ').map((column) => column.split('.'))
  return `${columns[0]?.[0]}(${columns.map((column) => column[1]).join(',')})`
}

// The detail is 'Key (a, b)=(1, 2) already exists.', in the server's language; the values may hold anything, so only
// its beginning is read.
function postgresUniqueViolation(error: Error): string | undefined {
  if (sqlState(error) !== '23505' || !('constraint' in error)) return undefined
  const detail = 'detail' in error && typeof error.detail === 'string' ? error.detail : ''
  const [, columns] = /^[^(]*\(([a-z0-9_, ]+)\)=\(/.exec(detail) ?? []
  if (columns === undefined || !('table' in error)) return String(error.constraint)
  return `${error.table}(${columns.replaceAll(', ', ',')})`
}

/** The time of PostgreSQL's own clock, epoch milliseconds; SQLite has none. */
export async function findDatabaseTime(db: Db): Promise<number | undefined> {
  if (dialectOf(db) === 'sqlite') return undefined
  const { rows } = await sql<{
    now: number
  }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint as now`.execute(db)
  return rows[0] === undefined ? undefined : Number(rows[0].now)
}
