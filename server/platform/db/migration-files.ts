// Reads numbered SQL files. A file is plain SQL for both databases, run whole (no splitting, so triggers and functions
// need no care), with these differences and no others:
//
//   {{serial}}   a growing number, the primary key   SQLite: integer primary key autoincrement
//                                                    PostgreSQL: bigint generated always as identity primary key
//   {{bytes}}    a column of bytes                   SQLite: blob   PostgreSQL: bytea
//   -- sqlite:begin … -- sqlite:end                  lines for SQLite only
//   -- postgres:begin … -- postgres:end              lines for PostgreSQL only
//
// A file has no begin or commit of its own, and no deferred constraints: on SQLite they would be checked by the COMMIT
// that other transactions share.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256Hex } from '../crypto/hash.ts'
import { DatabaseError } from './database-error.ts'

export interface Migration {
  version: number
  name: string
  text: string
  /** SHA-256 of the file as written, line ends normalized: the same for both databases and every checkout. */
  checksum: string
}

export const migrationsDirectory = join(import.meta.dirname, 'migrations')

/** The migrations of a folder in order. Refuses gaps, duplicates and names that are not `0001_words.sql`. */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  const migrations: Migration[] = []
  for (const [index, name] of names.entries()) {
    const version = index + 1
    const match = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)
    if (!match || Number(match[1]) !== version) {
      throw invalid(`${name} should be number ${String(version).padStart(4, '0')}, named like 0001_words.sql`)
    }
    const text = (await readFile(join(directory, name), 'utf8')).replaceAll('\r\n', '\n')
    migrations.push({ version, name, text, checksum: sha256Hex(text) })
  }
  return migrations
}

const tokens: Record<string, { sqlite: string; postgres: string }> = {
  serial: {
    sqlite: 'integer primary key autoincrement',
    postgres: 'bigint generated always as identity primary key',
  },
  bytes: { sqlite: 'blob', postgres: 'bytea' },
}

/** The SQL of one file for one database. Refuses unknown tokens and blocks that do not close. */
export function renderMigration(text: string, dialect: 'sqlite' | 'postgres'): string {
  const kept: string[] = []
  let block: string | undefined
  for (const line of text.split('\n')) {
    const [, owner, edge] = /^\s*--\s*(sqlite|postgres):(begin|end)\s*$/.exec(line) ?? []
    if (edge === undefined) {
      if (block === undefined || block === dialect) kept.push(line)
      continue
    }
    if (edge === 'begin' ? block !== undefined : block !== owner) throw invalid(`"${line.trim()}" is out of place`)
    block = edge === 'begin' ? owner : undefined
  }
  if (block !== undefined) throw invalid(`"-- ${block}:begin" has no end`)
  return kept.join('\n').replaceAll(/\{\{(.*?)\}\}/g, (token, name: string) => {
    const replacement = Object.hasOwn(tokens, name) ? tokens[name] : undefined
    if (!replacement) throw invalid(`unknown token ${token}`)
    return replacement[dialect]
  })
}

function invalid(message: string): DatabaseError {
  return new DatabaseError('migration_invalid', message)
}
