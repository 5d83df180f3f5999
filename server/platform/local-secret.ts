import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from './config.ts'
import { randomToken } from './crypto/hash.ts'
import { findSecretWeakness, generateSecret } from './crypto/secret-strength.ts'

/**
 * The local profile's own secret, made at the first start (`secret` in the data folder, 0600). Never overwritten: without it, what is sealed in the
 * database is lost. Refuses (ConfigError) a file that others can read, and one that holds no strong secret.
 */
export function readLocalSecret(dataDir: string): string {
  const path = join(dataDir, 'secret')
  if (!existsSync(path)) createOnce(path)
  if ((statSync(path).mode & 0o077) !== 0) throw new ConfigError([`${path} can be read by others: chmod 600 it`])
  const secret = readFileSync(path, 'utf8').trim()
  const weakness = findSecretWeakness(secret)
  if (weakness !== undefined) throw new ConfigError([`${path}: ${weakness}; restore the file from a backup`])
  return secret
}

// Written aside and linked: processes that start at once agree on one secret, and a crash leaves no half of one. The draft's name is
// never used again: in a container every start has the same process id.
function createOnce(path: string): void {
  const draft = `${path}.${randomToken(16)}.new`
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
  // The name too must outlive a power cut: the database will.
  const folder = openSync(dirname(path), 'r')
  fsyncSync(folder)
  closeSync(folder)
}
