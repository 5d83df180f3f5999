import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { CliError } from './failure.ts'

const pollMs = 50
/** A refresh takes four tries of 4 s at the most; whoever holds a lock for longer has died or is stopped. */
const staleMs = 30_000
const patienceMs = 40_000
let attempts = 0

/**
 * Runs `work` while no other process holds the lock file. The lock of a process that has died is taken over, and so is one
 * older than 30 s: two holders are then possible, which the server's identical reply to a repeated refresh forgives.
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const own = `${path}.${process.pid}.${++attempts}`
  await writeFile(own, String(process.pid), { mode: 0o600 })
  try {
    await acquire(path, own)
    try {
      return await work()
    } finally {
      await rm(path, { force: true })
    }
  } finally {
    await rm(own, { force: true })
  }
}

async function acquire(path: string, own: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += pollMs) {
    try {
      // Unlike creating a file, a link appears at once with its content: a reader never sees a lock without its owner.
      await link(own, path)
      return
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    if (await isAbandoned(path, own)) await removeAbandoned(path, own)
    else await delay(pollMs)
  }
  throw new CliError(
    'profile_locked',
    'temporary',
    `Another hivesync command holds ${path}`,
    `If none runs: rm ${path}`,
  )
}

async function isAbandoned(path: string, own: string): Promise<boolean> {
  try {
    const pid = Number(await readFile(path, 'utf8'))
    // Both times come from the file system's clock.
    const ageMs = (await stat(own)).mtimeMs - (await stat(path)).mtimeMs
    return ageMs > staleMs || !isAlive(pid)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false // released in between
    throw error
  }
}

/** Of two that see the same abandoned lock only one can rename it away. */
async function removeAbandoned(path: string, own: string): Promise<void> {
  try {
    await rename(path, `${own}.abandoned`)
    await rm(`${own}.abandoned`, { force: true })
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !hasCode(error, 'ESRCH')
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
