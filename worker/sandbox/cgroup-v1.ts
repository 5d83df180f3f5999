import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { readKey, readNumber, setLimit } from './cgroup-folders.ts'
import type { CgroupLimits, CgroupUsage, Controller } from './cgroups.ts'

// The files of cgroup v1: one hierarchy per controller (kernel documentation, admin-guide/cgroup-v1).

const ROOT = '/sys/fs/cgroup'
/** One core: the quota equals the period (kernel doc sched-bwc). */
const CPU_PERIOD_US = 100_000

/** The folder groups of a controller can be made in, undefined when there is none or this user may not write it. */
export function findV1Parent(
  controller: Controller,
  parents: Readonly<Partial<Record<'memory' | 'pids' | 'cpu', string>>> | undefined,
): string | undefined {
  const given = controller === 'cpuacct' ? parents?.cpu : parents?.[controller]
  if (parents !== undefined && given === undefined) return undefined
  const parent = given ?? join(ROOT, controller)
  // A v1 folder has `tasks`; v2 has `cgroup.controllers` in its place.
  if (!existsSync(join(parent, 'tasks'))) return undefined
  try {
    accessSync(parent, constants.W_OK)
    return parent
  } catch {
    return undefined // an answer, not a failure: this user may not make groups here
  }
}

export function limitV1(group: string, controller: Controller, limits: CgroupLimits): void {
  if (controller === 'memory') {
    setLimit(group, 'memory.limit_in_bytes', limits.memoryBytes)
    // Swap would stretch the limit: count it in, or where the kernel does not count it, allow none.
    if (existsSync(join(group, 'memory.memsw.limit_in_bytes'))) {
      setLimit(group, 'memory.memsw.limit_in_bytes', limits.memoryBytes)
    } else setLimit(group, 'memory.swappiness', 0)
  }
  if (controller === 'pids') setLimit(group, 'pids.max', limits.tasks)
  if (controller === 'cpu') {
    setLimit(group, 'cpu.cfs_period_us', CPU_PERIOD_US)
    setLimit(group, 'cpu.cfs_quota_us', CPU_PERIOD_US)
  }
  if (controller === 'cpuacct' && !existsSync(join(group, 'cpuacct.usage'))) {
    throw new Error('cgroup: no cpuacct.usage')
  }
}

export function readV1(group: string, controller: Controller): Partial<CgroupUsage> {
  if (controller === 'memory') {
    return {
      peakMemoryBytes: readNumber(group, 'memory.max_usage_in_bytes'),
      oomKills: readKey(group, 'memory.oom_control', 'oom_kill') ?? 0,
    }
  }
  if (controller === 'pids') {
    return { peakTasks: readNumber(group, 'pids.peak') ?? readNumber(group, 'pids.current') }
  }
  if (controller !== 'cpuacct') return {}
  const nanoseconds = readNumber(group, 'cpuacct.usage')
  return { cpuMs: nanoseconds === null ? null : Math.round(nanoseconds / 1e6) }
}
