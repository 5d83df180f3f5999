import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'

export type Row = Record<string, unknown>

/** The database beside the servers, read by the run's own SQL. */
export interface Rows {
  /** One statement, one snapshot. */
  read(sql: string): Promise<Row[]>
  write(sql: string): Promise<void>
  close(): Promise<void>
}

/** Opens the database of a run; a connection that was killed is made anew by the next statement. */
export function openRows(databaseUrl: string): Rows {
  if (databaseUrl.startsWith('sqlite:')) return openSqlite(databaseUrl.slice('sqlite:'.length))
  let client: pg.Client | undefined
  const connected = async (): Promise<pg.Client> => {
    if (client !== undefined) return client
    const made = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5000, query_timeout: 60_000 })
    made.on('error', () => {
      client = undefined
    })
    await made.connect()
    client = made
    return made
  }
  const read = async (sql: string): Promise<Row[]> => {
    try {
      return (await (await connected()).query<Row>(sql)).rows
    } catch (error) {
      client = undefined
      throw error
    }
  }
  return {
    read,
    write: async (sql) => void (await read(sql)),
    async close() {
      await client?.end().catch(() => {})
    },
  }
}

function openSqlite(path: string): Rows {
  // A second connection may write: SQLite's own locks keep it apart from the server's.
  const database = new DatabaseSync(path, { timeout: 10_000 })
  return {
    read: async (sql) => database.prepare(sql).all(),
    write: async (sql) => database.exec(sql),
    close: async () => database.close(),
  }
}
