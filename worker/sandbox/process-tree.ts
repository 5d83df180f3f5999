import { readdirSync, readFileSync, statfsSync } from 'node:fs'

/** What a process and all its descendants use; `tasks` counts threads, `memoryBytes` leaves file pages out. */
export interface TreeUsage {
  tasks: number
  memoryBytes: number
  cpuMs: number
}

/** USER_HZ, the unit of times in /proc/<pid>/stat; fixed at 100 in every Linux ABI Node runs on. */
const MS_PER_TICK = 10
/** Kernel memory of one tmpfs inode with its dentry, rounded up: 200,000 empty files filled 256 MiB (measured). */
const INODE_BYTES = 1280
const TMPFS_MAGIC = 0x01021994

/** Errors of a /proc entry whose process ended between two reads. */
const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')

function readIfAlive(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** The children of every thread of a process, as host pids; empty when it has ended. */
export function findChildren(pid: number): number[] {
  let tasks: string[]
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
  return tasks.flatMap((task) => {
    const list = readIfAlive(`/proc/${pid}/task/${task}/children`)
    return list === undefined ? [] : list.split(' ').filter(Boolean).map(Number)
  })
}

/**
 * Sums tasks, anonymous and shared memory, and CPU time (with that of reaped children) over a tree. A sample, not a
 * transaction: processes come and go while it is taken.
 */
export function sampleTree(rootPid: number): TreeUsage {
  const usage: TreeUsage = { tasks: 0, memoryBytes: 0, cpuMs: 0 }
  const waiting = [rootPid]
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    const status = readIfAlive(`/proc/${pid}/status`)
    const stat = readIfAlive(`/proc/${pid}/stat`)
    if (status === undefined || stat === undefined) continue
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
    usage.tasks += field('Threads')
    usage.memoryBytes += (field('RssAnon') + field('RssShmem')) * 1024
    // After the name in brackets (which may hold spaces): field 3 is the state, 14 to 17 the four times (proc(5)).
    const times = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
    usage.cpuMs += times.reduce((sum, ticks) => sum + Number(ticks) * MS_PER_TICK, 0)
    waiting.push(...findChildren(pid))
  }
  return usage
}

/**
 * Bytes held by a sandbox's own tmpfs, their inodes included (a size limit does not count those: a million empty files
 * are memory too). `initPid` is bubblewrap's process 1; a place that is not yet mounted counts as nothing.
 */
export function sampleTmpfs(initPid: number, places: readonly { path: string; bytes: number }[]): number {
  let total = 0
  for (const place of places) {
    try {
      const fs = statfsSync(`/proc/${initPid}/root${place.path}`)
      // While bubblewrap still sets up, the path can lead into the host's own /tmp: its size tells them apart.
      if (fs.type !== TMPFS_MAGIC || fs.blocks !== Math.ceil(place.bytes / fs.bsize)) continue
      total += (fs.blocks - fs.bfree) * fs.bsize + (fs.files - fs.ffree) * INODE_BYTES
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  return total
}

/** Whether a process with this host pid is the first of a pid namespace below ours: what bubblewrap calls its child. */
export function isNamespaceInit(pid: number): boolean {
  const status = readIfAlive(`/proc/${pid}/status`)
  return status !== undefined && /^NSpid:\s+\d+(\s+\d+)*\s+1$/m.test(status)
}

/** The start time of a live process in ticks since boot, undefined once it has ended (a zombie has ended). */
export function findStartTime(pid: number): string | undefined {
  const stat = readIfAlive(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}
