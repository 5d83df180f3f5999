import { readFile, stat } from 'node:fs/promises'
import { usageError } from './failure.ts'

/** contracts/job-kinds.ts, Secrets. */
const maxCharacters = 8192

/** Reads secrets from files, as `NAME=FILE`: a value on the command line would be seen by everybody on this machine. A last line break is no part of it. */
export async function readJobSecrets(given: readonly string[]): Promise<Record<string, string> | undefined> {
  if (given.length === 0) return undefined
  const entries = await Promise.all(given.map(readJobSecret))
  if (new Set(entries.map(([name]) => name)).size < entries.length)
    throw usageError('--secret names the same secret twice')
  return Object.fromEntries(entries)
}

async function readJobSecret(text: string): Promise<[name: string, value: string]> {
  const [, name, file] = /^([A-Za-z_][A-Za-z0-9_]{0,99})=(.+)$/.exec(text) ?? []
  // The text is not repeated: it may be the value itself, given by mistake.
  if (name === undefined || file === undefined) throw usageError('--secret takes NAME=FILE')
  try {
    if ((await stat(file)).size > 4 * maxCharacters) throw usageError(`The secret ${name} is too long`)
    const value = (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
    if (value === '') throw usageError(`The file of the secret ${name} is empty`)
    return [name, value]
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && typeof error.code === 'string' && 'syscall' in error))
      throw error
    throw usageError(`The file of the secret ${name} cannot be read: ${error.code}`)
  }
}
