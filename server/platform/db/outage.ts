import { DatabaseError } from './database-error.ts'
import { sqlState } from './sql-state.ts'

// Of the connection: Node's names. Of PostgreSQL: class 08, 57P01–57P03 (shutdown, crash, starting), class 53 (no memory, no disk, too many connections), 25006 (a standby).
const outageCode =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|08...|53...|57P0[123]|25006)$/
// What pg says without a code; and what everybody says once the database is closed, in the last moments of a stop.
const outageText =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout|driver has already been destroyed|Cannot use a pool after calling end|database is not open|statement has been finalized)/
// SQLITE_BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN: https://sqlite.org/rescode.html
const sqliteOutages: ReadonlySet<number> = new Set([5, 6, 8, 10, 13, 14])

/** Whether the database could not be asked or could not keep what it was told: nothing is wrong with the request, and it may succeed later. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof DatabaseError) return error.code === 'database_closed' || isOutage(error.cause)
  if (outageCode.test(sqlState(error) ?? '') || outageText.test(error.message)) return true
  // The extended code holds the primary one in its lower byte.
  return 'errcode' in error && typeof error.errcode === 'number' && sqliteOutages.has(error.errcode & 0xff)
}
