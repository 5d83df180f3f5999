// Reads a whole database as it is at one moment, beside a server that works on it.
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { DatabaseError } from '../database-error.ts'
import { getTypeParser } from '../postgres-types.ts'
import { sqlitePath } from '../sqlite-files.ts'

/** A value of a column: numbers are integers below 2^53, as everywhere. */
export type CellValue = string | number | null

export interface CopiedTable {
  readonly name: string
  readonly columns: readonly string[]
}

/** All tables of a database, read in one snapshot: what is written meanwhile is in none of them. */
export interface DatabaseCopy extends AsyncDisposable {
  readonly dialect: 'sqlite' | 'postgres'
  readonly tables: readonly CopiedTable[]
  /** The rows, some hundreds at a time. */
  rows(table: CopiedTable): AsyncIterable<CellValue[][]>
}

/** The largest rows have a megabyte. */
const rowsAtOnce = 200

/** Opens a snapshot of `sqlite:<path>` or `postgres://…`, which it never changes. */
export function openCopy(url: string): Promise<DatabaseCopy> {
  return url.startsWith('sqlite:') ? openSqliteCopy(sqlitePath(url)) : openPostgresCopy(url)
}

async function openSqliteCopy(path: string): Promise<DatabaseCopy> {
  let database: DatabaseSync
  try {
    database = new DatabaseSync(path, { readOnly: true, timeout: 10_000 })
  } catch (error) {
    throw new DatabaseError('database_unavailable', `${path} cannot be opened`, { cause: error })
  }
  // In WAL mode a reader keeps its state of the file for as long as its transaction, and keeps no writer waiting.
  database.exec('begin')
  const names = database
    .prepare(
      `select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name`,
    )
    .all()
  const tables = names.map(({ name }) => ({
    name: String(name),
    columns: database
      .prepare(`select name from pragma_table_info(?) order by cid`)
      .all(name ?? '')
      .map((column) => String(column.name)),
  }))
  return {
    dialect: 'sqlite',
    tables,
    async *rows({ name, columns }) {
      const statement = database.prepare(`select ${columns.map(quoted).join(', ')} from ${quoted(name)}`)
      statement.setReturnArrays(true)
      let held: CellValue[][] = []
      // Arrays, as asked for above; the types know only objects.
      for (const row of statement.iterate() as Iterable<unknown>) {
        held.push((row as unknown[]).map(requireCell))
        if (held.length < rowsAtOnce) continue
        yield held
        held = []
      }
      if (held.length > 0) yield held
    },
    async [Symbol.asyncDispose]() {
      database.close()
    },
  }
}

async function openPostgresCopy(url: string): Promise<DatabaseCopy> {
  const client = new pg.Client({ connectionString: url, application_name: 'hivesync-backup', types: { getTypeParser } })
  // Told by the statement under way.
  client.on('error', () => {})
  await client.connect()
  await client.query('begin isolation level repeatable read, read only')
  const { rows: columns } = await client.query<{ table_name: string; column_name: string }>(
    `select table_name, column_name from information_schema.columns join information_schema.tables using (table_schema, table_name)
     where table_schema = current_schema() and table_type = 'BASE TABLE' order by table_name, ordinal_position`,
  )
  const byTable = Map.groupBy(columns, ({ table_name }) => table_name)
  return {
    dialect: 'postgres',
    tables: [...byTable].map(([name, found]) => ({ name, columns: found.map(({ column_name }) => column_name) })),
    async *rows({ name, columns }) {
      await client.query(
        `declare copied no scroll cursor for select ${columns.map(quoted).join(', ')} from ${quoted(name)}`,
      )
      for (;;) {
        const { rows } = await client.query<unknown[]>({ text: `fetch ${rowsAtOnce} from copied`, rowMode: 'array' })
        if (rows.length > 0) yield rows.map((row) => row.map(requireCell))
        if (rows.length < rowsAtOnce) break
      }
      await client.query('close copied')
    },
    async [Symbol.asyncDispose]() {
      await client.end()
    },
  }
}

/** Names come from the schema, never from outside; quoted all the same. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function requireCell(value: unknown): CellValue {
  if (value === null || typeof value === 'string' || (typeof value === 'number' && Number.isSafeInteger(value)))
    return value
  throw new DatabaseError('value_out_of_range', `a ${typeof value} that a copy cannot hold`)
}
