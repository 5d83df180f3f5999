import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { DatabaseError } from './database-error.ts'

/** The path in `sqlite:<path>`, absolute. In-memory databases are refused: the reader is a second connection. */
export function sqlitePath(url: string): string {
  const path = url.slice('sqlite:'.length)
  if (path === '' || path === ':memory:' || path.includes('\0')) {
    throw new DatabaseError('database_url_invalid', 'sqlite:<path> needs the path of a file')
  }
  return resolve(path)
}

/**
 * Makes the file readable for its owner only (0600), before anything is written. SQLite gives -wal, -shm and -journal
 * the mode of the database file. A missing folder is made 0700.
 */
export function createPrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if (existsSync(path)) {
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      if (existsSync(path + suffix)) chmodSync(path + suffix, 0o600)
    }
    return
  }
  // Only ever opened when new: closing a descriptor of a file drops every POSIX lock this process holds on it.
  closeSync(openSync(path, 'wx', 0o600))
}

/**
 * Takes the database for this process alone, by an exclusive transaction on `<path>.lock`: the kernel frees it however
 * the process ends. Two servers on one file would each serve from their own idea of leases and limits.
 */
export function lockDatabase(path: string): { release(): void } {
  const lockPath = `${path}.lock`
  createPrivateFile(lockPath)
  const lock = new DatabaseSync(lockPath, { timeout: 0 })
  try {
    lock.exec('pragma journal_mode=memory; begin exclusive')
  } catch (error) {
    lock.close()
    if (isBusy(error)) throw new DatabaseError('database_in_use', `another process has ${path} open`)
    throw error
  }
  return { release: () => lock.close() }
}

// SQLITE_BUSY (5): https://sqlite.org/rescode.html#busy
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5
}
