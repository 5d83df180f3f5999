import { closeSync, fsyncSync, linkSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { generateSecret } from './crypto/secret-strength.ts'

/**
 * The local profile's own secret, made at the first start (`secret` in the data folder, 0600). Never overwritten: without it, what is sealed in the
 * database is lost. Refuses a file that others can read.
 */
export function readLocalSecret(dataDir: string): string {
  const path = join(dataDir, 'secret')
  createOnce(path)
  if ((statSync(path).mode & 0o077) !== 0) throw new Error(`${path} can be read by others: chmod 600 it`)
  const secret = readFileSync(path, 'utf8').trim()
  if (secret === '') throw new Error(`${path} is empty: restore it from a backup`)
  return secret
}

// Written aside and linked: two processes that start at once agree on one secret, and a crash leaves no half of one.
function createOnce(path: string): void {
  const draft = `${path}.${process.pid}.new`
  const file = openSync(draft, 'wx', 0o600)
  try {
    writeSync(file, `${generateSecret()}\n`)
    fsyncSync(file)
    linkSync(draft, path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  } finally {
    closeSync(file)
    unlinkSync(draft)
  }
}
