import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'

/** Another process of this machine holds the lock of a mirror. */
export class MirrorBusy extends Error {
  constructor() {
    super('another worker process is using this mirror')
    this.name = 'MirrorBusy'
  }
}

const queues = new Map<string, Promise<unknown>>()

/**
 * Runs `work` while holding the lock at `lockPath`: jobs of this process wait for each other in order, another live process
 * is MirrorBusy, and a lock left by a process that no longer lives is taken over.
 */
export async function withMirrorLock<T>(
  lockPath: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const before = queues.get(lockPath) ?? Promise.resolve()
  const turn = before.then(() => runLocked(lockPath, signal, work))
  const settled = turn.catch(() => undefined) // its error is the caller's, not the next in line's
  queues.set(lockPath, settled)
  try {
    return await turn
  } finally {
    if (queues.get(lockPath) === settled) queues.delete(lockPath)
  }
}

async function runLocked<T>(lockPath: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted()
  await acquire(lockPath)
  try {
    return await work()
  } finally {
    await rm(lockPath, { force: true })
  }
}

async function acquire(lockPath: string): Promise<void> {
  const own = await processIdentity(process.pid)
  // Written whole under a name of its own and linked into place: nobody ever reads half a lock.
  const draft = `${lockPath}.${process.pid}`
  await writeFile(draft, `${own}\n`, { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      if (await tryLink(draft, lockPath)) return
      const holder = (await readLock(lockPath))?.trim()
      if (holder === undefined) continue
      // Jobs of this process are queued above, so its own identity here is a lock a failed removal left behind.
      if (holder !== own && (await isAlive(holder))) throw new MirrorBusy()
      await removeStale(lockPath, `${draft}.stale`, holder)
    }
  } finally {
    await rm(draft, { force: true })
  }
  throw new MirrorBusy()
}

/** Moves the lock aside before removing it; had another process taken over meanwhile, its lock is put back. */
async function removeStale(lockPath: string, asidePath: string, holder: string): Promise<void> {
  try {
    await rename(lockPath, asidePath)
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  if ((await readLock(asidePath))?.trim() !== holder) await tryLink(asidePath, lockPath)
  await rm(asidePath, { force: true })
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function isAlive(holder: string): Promise<boolean> {
  const pid = Number(/^(\d+) /.exec(holder)?.[1])
  return Number.isSafeInteger(pid) && (await processIdentity(pid)) === holder
}

/** `pid start-time` (proc(5), field 22, in ticks since boot): a pid alone may have been given to another process since. */
async function processIdentity(pid: number): Promise<string | undefined> {
  const stat = await readLock(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return `${pid} ${fields[19]}`
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')
}
