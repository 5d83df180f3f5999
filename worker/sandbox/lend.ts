import { execFile } from 'node:child_process'
import { chmod, chown, lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Gives what lies at `path` to the user of a slot until the answer is called: it changes its owner, and the folder around it lets
 * that user through and nobody else, so neither another slot's job nor another user of the machine gets at it. Afterwards
 * the folder is closed again, which is what counts; the next slot's user is given the content then. That folder must be
 * the worker's own and closed (RangeError), since its mode changes.
 */
export async function lend(chownProgram: string, path: string, uid: number): Promise<() => Promise<void>> {
  const around = dirname(path)
  const { uid: owner, mode } = await lstat(around)
  if (owner !== process.getuid?.() || (mode & 0o067) !== 0) {
    throw new RangeError(`sandbox: ${around} must be a folder of the worker's own and closed to others (0700)`)
  }
  // Everything inside has the owner of its top: only that owner's runs have written here since.
  if ((await lstat(path)).uid !== uid) await run(chownProgram, ['-hR', `${uid}:${uid}`, '--', path], { env: {} })
  await chown(around, owner, uid)
  await chmod(around, 0o710)
  return () => chmod(around, 0o700)
}
