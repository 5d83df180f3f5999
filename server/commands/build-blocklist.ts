import { open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { foldPassword } from '../accounts/blocklist.ts'
import { maxEntries } from '../platform/crypto/fuse-filter.ts'
import { randomToken } from '../platform/crypto/hash.ts'
import { buildPasswordFilter, passwordKey, passwordKeyOfSha1 } from '../platform/crypto/password-filter.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand } from './operator-command.ts'
import { readLines } from './read-lines.ts'

/** The longest password that anybody may have; a longer line is none. */
const maxLineBytes = 1024
/** Nothing shorter passes the rules. */
const leastCodePoints = 8
const sha1Line = /^([0-9A-Fa-f]{40})(?::\d+)?$/

/**
 * Makes the file for HIVESYNC_PASSWORD_BLOCKLIST of a list, one a line: passwords in UTF-8 as they are, or SHA-1 in hex with or without `:count`, as
 * breach lists are published. Needs 40 bytes of memory per entry, at most 50 million entries; the file takes 2.25 bytes per entry.
 */
export function buildBlocklistCommand(listPath: string, outPath: string): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    const { keys, used, skipped } = await collectKeys(listPath)
    if (keys.length === 0) throw new CommandRefused(`${listPath} holds no password that could be used here`)
    const { bytes, entries } = buildPasswordFilter(keys)
    await writeWhole(resolve(outPath), bytes)
    return {
      exitCode: 0,
      json: { lines: used, skipped, entries, bytes: bytes.length },
      lines: [
        `${outPath}: ${entries} entries of ${used} lines in ${bytes.length} bytes; ${skipped} lines were too short, too long or no UTF-8.`,
        `Set HIVESYNC_PASSWORD_BLOCKLIST=${resolve(outPath)} and start the server again.`,
      ],
    }
  })
}

async function collectKeys(listPath: string) {
  let keys = new BigUint64Array(1 << 16)
  let [count, used, skipped] = [0, 0, 0]
  for await (const { bytes } of readLines(listPath, maxLineBytes)) {
    const found = bytes === undefined ? [] : keysOf(bytes)
    if (found.length === 0) skipped++
    else used++
    if (count + found.length > maxEntries)
      throw new CommandRefused(`${listPath} has more than ${maxEntries} entries: take the most common ones`)
    if (count + found.length > keys.length) keys = enlarged(keys)
    for (const key of found) keys[count++] = key
  }
  return { keys: keys.subarray(0, count), used, skipped }
}

/** A password is listed as it is and in lower case; of a digest nobody knows the lower case. */
function keysOf(line: Buffer): bigint[] {
  const text = line.toString('utf8')
  const [, sha1] = sha1Line.exec(text) ?? []
  if (sha1 !== undefined) return [passwordKeyOfSha1(sha1)]
  if (text.includes('\ufffd') || [...text.normalize('NFC')].length < leastCodePoints) return []
  return [...new Set([text.normalize('NFC'), foldPassword(text)])].map(passwordKey)
}

function enlarged(keys: BigUint64Array<ArrayBuffer>): BigUint64Array<ArrayBuffer> {
  const larger = new BigUint64Array(keys.length * 2)
  larger.set(keys)
  return larger
}

/** Writes beside the file and renames: a server that starts meanwhile reads the old file or the new one, never a part. */
async function writeWhole(path: string, bytes: Buffer): Promise<void> {
  const part = `${path}.${randomToken(16)}.part`
  try {
    const file = await open(part, 'wx', 0o644)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(part, path)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
