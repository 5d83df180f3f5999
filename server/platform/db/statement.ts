// Statements on many rows whose text does not depend on how many: the rows travel as one parameter. The database prepares such a text once, and the query
// builder, which would compile a node for every value, is not asked.
import { CompiledQuery } from 'kysely'
import { DatabaseError } from './database-error.ts'
import type { Db } from './db.ts'
import { arrayText, dialectOf } from './dialect.ts'
import { requirePortableParameters } from './parameters.ts'

type Scalar = string | number | null
type Dialect = 'sqlite' | 'postgres'

/** Trusted text with values in it; a value is bound, never pasted. */
export interface Statement {
  readonly texts: readonly string[]
  readonly values: readonly (Scalar | Rows | Text | OneOf | Only | Statement)[]
}

class Rows {
  readonly json: string
  readonly columns: Columns
  constructor(columns: Columns, json: string) {
    this.columns = columns
    this.json = json
  }
}

class Text {
  readonly of: (dialect: Dialect) => string
  constructor(of: (dialect: Dialect) => string) {
    this.of = of
  }
}

class OneOf {
  readonly type: ColumnType
  readonly values: readonly (string | number)[]
  constructor(type: ColumnType, values: readonly (string | number)[]) {
    this.type = type
    this.values = values
  }
}

class Only {
  readonly dialect: Dialect
  readonly part: Statement
  constructor(dialect: Dialect, part: Statement) {
    this.dialect = dialect
    this.part = part
  }
}

/** A statement, written as it is: `${…}` binds a value, or takes in rows, trusted text or another statement. */
export function statement(texts: TemplateStringsArray, ...values: Statement['values']): Statement {
  return { texts, values }
}

/** Text of the code's own, one for each database where they differ. Never anybody's words. */
export function text(of: string | ((dialect: Dialect) => string)): Text {
  return new Text(typeof of === 'string' ? () => of : of)
}

/** Columns in camel case, as rows have them; the database knows them in snake case. */
export type Columns = Readonly<Record<string, ColumnType>>
type ColumnType = 'text' | 'bigint'

/** What follows a column to say that it is one of the values, which travel as one parameter and are looked up in an index. */
export function oneOf(type: ColumnType, values: readonly (string | number)[]): OneOf {
  requirePortableParameters(values)
  return new OneOf(type, values)
}

/** A part of a statement that one of the databases needs, and the other is not asked. */
export function only(dialect: Dialect, part: Statement): Only {
  return new Only(dialect, part)
}

/** Rows as a table named `r` to select from. A row without one of the columns has null there. */
export function rows<C extends Columns>(
  columns: C,
  list: readonly { readonly [K in keyof C]?: Scalar | undefined }[],
): Rows {
  const names = namesOf(columns)
  const plain = list.map((row) => {
    const values = names.map(([name]) => row[name] ?? null)
    requirePortableParameters(values)
    return Object.fromEntries(names.map(([, column], index) => [column, values[index]]))
  })
  return new Rows(columns, JSON.stringify(plain, wellFormed))
}

const known = new WeakMap<Columns, (readonly [name: string, column: string])[]>()

function namesOf(columns: Columns): readonly (readonly [name: string, column: string])[] {
  const names = known.get(columns) ?? Object.keys(columns).map((name) => [name, toSnake(name)] as const)
  known.set(columns, names)
  return names
}

const toSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Columns of a table to select, named as rows have them. */
export function columnsOf(table: string, names: readonly string[]): Text {
  return text(names.map((name) => `${table}.${toSnake(name)}`).join(', '))
}

// Half of a surrogate pair becomes U+FFFD, as on the way of every other parameter; PostgreSQL would refuse its escape.
const wellFormed = (_key: string, value: unknown): unknown => (typeof value === 'string' ? value.toWellFormed() : value)

/** Inserts the rows; `tail` may say `returning …` or `on conflict …`. */
export function insert<C extends Columns>(
  table: string,
  columns: C,
  list: readonly { readonly [K in keyof C]?: Scalar | undefined }[],
  tail = '',
): Statement {
  const names = namesOf(columns)
    .map(([, column]) => column)
    .join(', ')
  // `where true`: without it SQLite reads `on conflict` as the condition of a join.
  return statement`insert into ${text(`${table} (${names}) select ${names}`)} from ${rows(columns, list)} where true ${text(tail)}`
}

/**
 * Gives each row that a list names by `ofKey` values of its own. PostgreSQL is told the keys once more: of a list of unknown length it takes so many to come that
 * it would rather read a table of ten thousand rows than its index.
 */
export function updateEach<C extends Columns & { ofKey: ColumnType }>(
  table: string,
  key: string,
  set: Statement,
  columns: C,
  list: readonly ({ readonly ofKey: string | number } & { readonly [K in keyof C]?: Scalar | undefined })[],
): Statement {
  const keys = oneOf(
    columns.ofKey,
    list.map(({ ofKey }) => ofKey),
  )
  return statement`update ${text(table)} set ${set} from ${rows(columns, list)}
    where ${text(key)} = of_key ${only('postgres', statement`and ${text(key)} ${keys}`)}`
}

function compile({ texts, values }: Statement, dialect: Dialect, parameters: unknown[]): string {
  let sql = texts[0] ?? ''
  for (const [index, value] of values.entries()) {
    sql += part(value, dialect, parameters) + (texts[index + 1] ?? '')
  }
  return sql
}

function part(value: Statement['values'][number], dialect: Dialect, parameters: unknown[]): string {
  if (value instanceof Text) return value.of(dialect)
  if (value instanceof Rows) return table(value, dialect, parameters)
  if (value instanceof OneOf) return membership(value, dialect, parameters)
  if (value instanceof Only) return value.dialect === dialect ? compile(value.part, dialect, parameters) : ''
  if (typeof value === 'object' && value !== null) return compile(value, dialect, parameters)
  parameters.push(value)
  return dialect === 'postgres' ? `$${parameters.length}` : '?'
}

function table({ columns, json }: Rows, dialect: Dialect, parameters: unknown[]): string {
  parameters.push(json)
  const names = namesOf(columns)
  return dialect === 'postgres'
    ? `json_to_recordset($${parameters.length}::json) as r (${names.map(([name, column]) => `${column} ${columns[name]}`).join(', ')})`
    : `(select ${names.map(([, column]) => `value ->> '$.${column}' as ${column}`).join(', ')} from json_each(?)) as r`
}

function membership({ type, values }: OneOf, dialect: Dialect, parameters: unknown[]): string {
  parameters.push(dialect === 'postgres' ? arrayText(values) : JSON.stringify(values, wellFormed))
  return dialect === 'postgres'
    ? `= any ($${parameters.length}::text::${type}[])`
    : 'in (select value from json_each(?))'
}

/** Runs the statement; its result's columns come in camel case, as everywhere. */
export async function run<Row>(db: Db, query: Statement): Promise<Row[]> {
  const parameters: unknown[] = []
  const sql = compile(query, dialectOf(db), parameters)
  return (await db.executeQuery<Row>(CompiledQuery.raw(sql, parameters))).rows
}

/**
 * Runs statements that do not see each other's effects: on PostgreSQL as one, for a round trip is what a statement costs there; on SQLite one after the other.
 * No two of them may change the same row.
 */
export async function runTogether(tx: Db, queries: readonly Statement[]): Promise<void> {
  if (!tx.isTransaction) throw new DatabaseError('outside_transaction', 'together means in one transaction')
  if (dialectOf(tx) === 'sqlite') {
    for (const query of queries) await run(tx, query)
    return
  }
  const parameters: unknown[] = []
  const parts = queries.map((query) => compile(query, 'postgres', parameters))
  const last = parts.pop()
  if (last === undefined) return
  const before = parts.map((sql, index) => `s${index} as (${sql})`)
  const sql = before.length === 0 ? last : `with ${before.join(', ')} ${last}`
  await tx.executeQuery(CompiledQuery.raw(sql, parameters))
}
