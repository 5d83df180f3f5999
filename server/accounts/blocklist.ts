import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Config, ConfigError } from '../platform/config.ts'
import type { FuseFilter } from '../platform/crypto/fuse-filter.ts'
import { hasPassword, PasswordFilterRefused, readPasswordFilter } from '../platform/crypto/password-filter.ts'

/** Made by blocklist/generate.ts; a test makes it again and compares. */
export const shippedFilterPath = join(import.meta.dirname, 'blocklist', 'passwords.filter')

const opened = new WeakMap<Config, readonly FuseFilter[]>()

/**
 * Loads the list of common passwords that comes along, and the operator's if one is configured; neither is asked of anybody else. Throws ConfigError when
 * the operator's file is missing, damaged or something else. Called before the server opens anything, else at the first password.
 */
export function openBlocklist(config: Config): readonly FuseFilter[] {
  const known = opened.get(config)
  if (known !== undefined) return known
  const { passwordBlocklist } = config
  const filters = [readPasswordFilter(readFileSync(shippedFilterPath))]
  if (passwordBlocklist !== null) filters.push(readOperatorsFilter(passwordBlocklist))
  opened.set(config, filters)
  return filters
}

/** Whether the password, as it is or in lower case, is one of the most common or of the operator's list; the whole of it is compared (NIST SP 800-63B-4 §3.1.1.2). */
export function isCommonPassword(config: Config, password: string): boolean {
  const spellings = [...new Set([password, foldPassword(password)])]
  return openBlocklist(config).some((filter) => spellings.some((spelling) => hasPassword(filter, spelling)))
}

/** What common passwords are compared by: in lower case, composed. */
export function foldPassword(password: string): string {
  return password.normalize('NFC').toLowerCase().normalize('NFC')
}

function readOperatorsFilter(path: string): FuseFilter {
  try {
    return readPasswordFilter(readFileSync(path))
  } catch (error) {
    const isFile = error instanceof PasswordFilterRefused
    const reason = isFile ? error.message : `cannot be read (${codeOf(error)})`
    throw new ConfigError([
      `HIVESYNC_PASSWORD_BLOCKLIST names a file that ${reason}: make it with \`hivesync admin build-blocklist\``,
    ])
  }
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  throw error
}
