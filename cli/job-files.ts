import { readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { usageError } from './failure.ts'

/** The largest file that the contract takes, in characters (contracts/job-kinds.ts, ComputeInput). */
const maxCharacters = 262_144

/** Reads the files that go along with a job: `LOCAL`, or `LOCAL:REMOTE`; text in UTF-8 only, because the contract carries text. */
export async function readJobFiles(given: readonly string[]): Promise<{ path: string; content: string }[] | undefined> {
  if (given.length === 0) return undefined
  return Promise.all(given.map(async (text) => readJobFile(...splitNames(text))))
}

function splitNames(text: string): [local: string, remote: string] {
  const colon = text.lastIndexOf(':')
  if (colon === -1) return [text, basename(text)]
  const [local, remote] = [text.slice(0, colon), text.slice(colon + 1)]
  if (local === '' || remote === '') throw usageError('--file takes LOCAL or LOCAL:REMOTE')
  return [local, remote]
}

async function readJobFile(local: string, remote: string): Promise<{ path: string; content: string }> {
  let bytes: Uint8Array
  try {
    // At most three bytes for each UTF-16 unit that the contract counts.
    if ((await stat(local)).size > 3 * maxCharacters) throw usageError(`${local} is too large to go along with a job`)
    bytes = await readFile(local)
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string' && 'syscall' in error) {
      throw usageError(`${local} cannot be read: ${error.code}`)
    }
    throw error
  }
  try {
    return { path: remote, content: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    throw usageError(`${local} is not text in UTF-8; only text can go along with a job`)
  }
}
