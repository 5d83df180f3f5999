import pg from 'pg'
import { DatabaseError } from './database-error.ts'

const oid = { bool: 16, bytea: 17, int8: 20, numeric: 1700 }

/** Reads what SQLite gives for the same query: numbers for bigint, count() and sum(); 1 and 0 for conditions; plain bytes. */
export function getTypeParser(id: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (format !== 'binary') {
    if (id === oid.int8 || id === oid.numeric) return parseNumber
    if (id === oid.bool) return (text) => (text === 't' ? 1 : 0)
    if (id === oid.bytea) return (text) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))
  }
  return pg.types.getTypeParser(id, format)
}

function parseNumber(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new DatabaseError('value_out_of_range', 'an integer beyond 2^53 cannot be a JavaScript number')
  }
  return number
}
