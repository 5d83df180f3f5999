// Fills an empty, migrated database with the rows of another one, which may have been of the other kind.
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { DatabaseError } from '../database-error.ts'
import { createPrivateFile, lockDatabase, sqlitePath } from '../sqlite-files.ts'
import { type CellValue, type CopiedTable, quoted } from './read-copy.ts'

/** One transaction that holds everything: until `commit` the database is as it was. */
export interface CopyTarget extends AsyncDisposable {
  /** Takes away what is in the table: rows that migrations, or a server that was started and never set up, have made. */
  clear(name: string): Promise<void>
  /** Adds rows to a table that was cleared. Refuses a table or column that this schema has not. */
  insert(table: CopiedTable, rows: readonly (readonly CellValue[])[]): Promise<void>
  /**
   * Checks every reference and makes it durable. Numbers that the database gives out go on `gap` above the highest that was brought: what was given out
   * after the copy was made is never given out again.
   */
  commit(gap: number): Promise<void>
}

/** Opens the database, which no server may be using; refuses one that has rows already (`database_not_empty`). */
export function openCopyTarget(url: string): Promise<CopyTarget> {
  return url.startsWith('sqlite:') ? openSqliteTarget(sqlitePath(url)) : openPostgresTarget(url)
}

async function openSqliteTarget(path: string): Promise<CopyTarget> {
  const lock = lockDatabase(path)
  createPrivateFile(path)
  const database = new DatabaseSync(path)
  const close = async (): Promise<void> => {
    database.close()
    lock.release()
  }
  try {
    // References point both ways between some tables: they are checked when all rows are there.
    database.exec('pragma foreign_keys = off; pragma synchronous = full; begin immediate')
    requireEmpty(database.prepare(`select count(*) as count from users`).get()?.count)
  } catch (error) {
    await close()
    throw error
  }
  return {
    async clear(name) {
      database.exec(`delete from ${quoted(name)}`)
    },
    async insert({ name, columns }, rows) {
      const places = columns.map(() => '?').join(', ')
      const statement = database.prepare(
        `insert into ${quoted(name)} (${columns.map(quoted).join(', ')}) values (${places})`,
      )
      for (const row of rows) statement.run(...row.map((value) => (typeof value === 'number' ? BigInt(value) : value)))
    },
    async commit(gap) {
      const broken = database.prepare('pragma foreign_key_check').all()
      if (broken.length > 0)
        throw new DatabaseError(
          'copy_broken',
          `${broken.length} references lead nowhere, the first in ${broken[0]?.table}`,
        )
      const counted = database
        .prepare(`select name from sqlite_schema where type = 'table' and sql like '%autoincrement%'`)
        .all()
      for (const { name } of counted) {
        const last = database.prepare('select seq from sqlite_sequence where name = ?').get(name ?? '')?.seq ?? 0
        database.prepare('delete from sqlite_sequence where name = ?').run(name ?? '')
        database
          .prepare('insert into sqlite_sequence (name, seq) values (?, ?)')
          .run(name ?? '', BigInt(Number(last) + gap))
      }
      database.exec('commit')
    },
    [Symbol.asyncDispose]: close,
  }
}

async function openPostgresTarget(url: string): Promise<CopyTarget> {
  const client = new pg.Client({ connectionString: url, application_name: 'hivesync-restore' })
  client.on('error', () => {})
  await client.connect()
  let references: { owner: string; name: string; definition: string }[] = []
  try {
    await client.query('begin')
    requireEmpty((await client.query(`select count(*) as count from users`)).rows[0]?.count)
    // As on SQLite: taken away, and made anew, which checks them, when all rows are there.
    const found = await client.query<(typeof references)[number]>(
      `select conrelid::regclass::text as owner, quote_ident(conname) as name, pg_get_constraintdef(oid) as definition
       from pg_constraint where contype = 'f' and connamespace = current_schema()::regnamespace`,
    )
    references = found.rows
    for (const { owner, name } of references) await client.query(`alter table ${owner} drop constraint ${name}`)
  } catch (error) {
    await client.end()
    throw error
  }
  return {
    async clear(name) {
      await client.query(`delete from ${quoted(name)}`)
    },
    async insert({ name, columns }, rows) {
      const list = columns.map(quoted).join(', ')
      const objects = rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i] ?? null])))
      await client.query(
        `insert into ${quoted(name)} (${list}) overriding system value select ${list} from json_populate_recordset(null::${quoted(name)}, $1::json)`,
        [JSON.stringify(objects)],
      )
    },
    async commit(gap) {
      for (const { owner, name, definition } of references)
        await client.query(`alter table ${owner} add constraint ${name} ${definition}`)
      const { rows: counters } = await client.query<{ table_name: string; column_name: string }>(
        `select table_name, column_name from information_schema.columns where table_schema = current_schema() and is_identity = 'YES'`,
      )
      for (const { table_name: table, column_name: column } of counters)
        await client.query(
          `select setval(pg_get_serial_sequence($1, $2), coalesce((select max(${quoted(column)}) from ${quoted(table)}), 0) + $3)`,
          [quoted(table), column, gap],
        )
      await client.query('commit')
    },
    async [Symbol.asyncDispose]() {
      await client.end()
    },
  }
}

function requireEmpty(count: unknown): void {
  if (Number(count) !== 0)
    throw new DatabaseError('database_not_empty', 'the database has accounts already: restore into an empty one')
}
