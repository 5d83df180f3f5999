import type { Controller, JobCgroup } from './cgroups.ts'
import { sampleTmpfs, sampleTree } from './process-tree.ts'

/** A 256 MiB cap was overshot to 282 MiB (median) at 25 ms and to 347 at 50 ms (measured). */
const WATCH_MS = 25
/** Where the kernel holds the limits, looking only serves to end the whole job soon after its first kill. */
const SUPERVISE_MS = 100

export interface WatchedLimits {
  memoryBytes: number
  tasks: number
  cpuSeconds: number
}

export type Excess = 'memory' | 'pids' | 'cpu'

export interface Watch {
  /** Looks a last time and stops; null is "never seen", as for a job shorter than one look without cgroups. */
  stop(): { cpuMs: number | null; peakMemoryBytes: number | null; peakPids: number | null; oomKilled: boolean }
}

/**
 * Watches one job and calls `onExcess` once: CPU time over all its processes (RLIMIT_CPU counts each alone), a process
 * ended by the memory cgroup, and, where no cgroup holds them, memory (anonymous, shared, tmpfs) and tasks by sampling.
 * `onFailure` means the job could not be watched and must not go on.
 */
export function watch(options: {
  pid: number
  initPid: () => number | undefined
  places: readonly { path: string; bytes: number }[]
  cgroup: JobCgroup
  /** Which controllers hold in the kernel. */
  held: ReadonlySet<Controller>
  limits: WatchedLimits
  onExcess: (excess: Excess) => void
  onFailure: (error: unknown) => void
}): Watch {
  const { cgroup, held, limits } = options
  const samplesLimits = !held.has('memory') || !held.has('pids')
  const samplesTree = samplesLimits || !held.has('cpuacct')
  let cpuMs: number | null = null
  let peakMemoryBytes: number | null = null
  let peakPids: number | null = null
  let oomKilled = false

  const look = (): Excess | undefined => {
    const counted = cgroup.usage()
    oomKilled = counted.oomKills > 0
    let tasks = 0
    if (samplesTree) {
      const tree = sampleTree(options.pid)
      const init = options.initPid()
      tasks = tree.tasks
      if (tree.tasks > 0) cpuMs = Math.max(cpuMs ?? 0, tree.cpuMs)
      if (!held.has('memory') && tree.tasks > 0) {
        const bytes = tree.memoryBytes + (init === undefined ? 0 : sampleTmpfs(init, options.places))
        peakMemoryBytes = Math.max(peakMemoryBytes ?? 0, bytes)
      }
    }
    cpuMs = counted.cpuMs ?? cpuMs
    peakMemoryBytes = highest(peakMemoryBytes, counted.peakMemoryBytes)
    peakPids = highest(peakPids, counted.peakTasks ?? (tasks > 0 ? tasks : null))
    if (oomKilled) return 'memory'
    if (!held.has('memory') && (peakMemoryBytes ?? 0) > limits.memoryBytes) return 'memory'
    if (!held.has('pids') && tasks > limits.tasks) return 'pids'
    return (cpuMs ?? 0) >= limits.cpuSeconds * 1000 ? 'cpu' : undefined
  }

  const timer = setInterval(
    () => {
      try {
        const excess = look()
        if (excess === undefined) return
        clearInterval(timer)
        options.onExcess(excess)
      } catch (error) {
        clearInterval(timer)
        options.onFailure(error)
      }
    },
    samplesLimits ? WATCH_MS : SUPERVISE_MS,
  )
  return {
    stop() {
      clearInterval(timer)
      look()
      return { cpuMs, peakMemoryBytes, peakPids, oomKilled }
    },
  }
}

const highest = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.max(a, b)
