import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf, readKey, readNumber, readPids, setLimit } from './cgroup-folders.ts'
import type { CgroupLimits, CgroupUsage, Controller } from './cgroups.ts'

// The files of cgroup v2, one hierarchy for all controllers (kernel documentation, admin-guide/cgroup-v2.rst). A group that
// hands controllers to groups below it may hold no process itself, so the worker steps aside into a leaf of its own.

/** Where what ran directly in the delegated group goes. */
export const WORKER_LEAF = 'hivesync-main'
/** One core: quota and period are equal. */
const CPU_MAX = '100000 100000'
const LIMITING = ['memory', 'pids', 'cpu'] as const
/** Processes may fork while they are moved; each round moves what the one before has missed. */
const MOVE_ROUNDS = 20

export interface UnifiedView {
  /** /proc/self/cgroup and /proc/self/mountinfo. */
  cgroup: string
  mountinfo: string
  isRoot: boolean
}

export function readUnifiedView(): UnifiedView {
  return {
    cgroup: readFileSync('/proc/self/cgroup', 'latin1'),
    mountinfo: readFileSync('/proc/self/mountinfo', 'latin1'),
    isRoot: process.getuid?.() === 0,
  }
}

/**
 * The group below which job groups may be made without stepping on anybody's toes. For an ordinary user that is its own
 * group, or the one around, when it was delegated: then, and only then, its files are writable for that user. Root may
 * write everywhere: it takes its own service's or container's group, else, on a machine's real root, groups of their own there.
 */
export function findV2Parent(view: UnifiedView): string | undefined {
  // proc(5): the fifth field is where it is mounted, and ` - ` ends those of which there may be more.
  const mount = /^(?:\S+ ){4}(\S+) .*? - cgroup2 /m.exec(view.mountinfo)?.[1]
  const path = /^0::(\/.*)$/m.exec(view.cgroup)?.[1]
  if (mount === undefined || path === undefined || path.split('/').includes('..')) return undefined
  const own = path === '/' ? mount : join(mount, path)
  const around = own === mount ? undefined : dirname(own)
  if (around !== undefined && basename(own) === WORKER_LEAF) return around
  if (!view.isRoot) return [own, around].find((group) => group !== undefined && isDelegated(group))
  if (own === mount || basename(own).endsWith('.service')) return own
  // systemd's DelegateSubgroup= has the process in a leaf of the service already.
  if (around !== undefined && basename(around).endsWith('.service')) return around
  return isRealRoot(mount) ? mount : undefined
}

/** Only the root of the machine has no type, and only it may hold processes beside groups with controllers. */
const isRealRoot = (group: string): boolean =>
  existsSync(join(group, 'cgroup.controllers')) && !existsSync(join(group, 'cgroup.type'))

function isDelegated(group: string): boolean {
  try {
    for (const file of ['.', 'cgroup.procs', 'cgroup.subtree_control']) accessSync(join(group, file), constants.W_OK)
    return true
  } catch {
    return false // an answer, not a failure: nobody gave this group to this user
  }
}

/**
 * Hands down those of the limiting controllers that `parent` has, and answers which those are. Where processes stand in the
 * way (EBUSY), all of them, this one among them, move into a leaf; nothing moves when there is nothing to hand down.
 */
export function handDown(parent: string): Controller[] {
  if (!existsSync(join(parent, 'cgroup.controllers'))) return []
  const available = readWords(parent, 'cgroup.controllers')
  const handed = LIMITING.filter((controller) => available.includes(controller) && enable(parent, controller))
  // Counted in every group, with or without the cpu controller.
  return handed.length === 0 ? [] : [...handed, 'cpuacct']
}

function enable(group: string, controller: string): boolean {
  const isHanded = (): boolean => readWords(group, 'cgroup.subtree_control').includes(controller)
  for (let round = 0; !isHanded() && round < MOVE_ROUNDS; round += 1) {
    try {
      writeFileSync(join(group, 'cgroup.subtree_control'), `+${controller}`)
    } catch (error) {
      if (codeOf(error) !== 'EBUSY') return false // named as no layer then; the watchdog takes over
      stepAside(group)
    }
  }
  return isHanded()
}

function stepAside(group: string): void {
  const leaf = join(group, WORKER_LEAF)
  mkdirSync(leaf, { recursive: true })
  for (const pid of readPids(group)) {
    try {
      writeFileSync(join(leaf, 'cgroup.procs'), String(pid))
    } catch (error) {
      if (codeOf(error) !== 'ESRCH') throw error // it has ended meanwhile
    }
  }
}

const readWords = (group: string, file: string): string[] =>
  readFileSync(join(group, file), 'latin1').split(/\s+/).filter(Boolean)

export function limitV2(group: string, controller: Controller, limits: CgroupLimits): void {
  if (controller === 'memory') {
    setLimit(group, 'memory.max', limits.memoryBytes)
    // Swap would stretch the limit; a kernel without swap accounting has no such file and nothing to stretch it by.
    if (existsSync(join(group, 'memory.swap.max'))) setLimit(group, 'memory.swap.max', 0)
    // The whole job dies of its memory, not the one process the kernel happens to pick.
    setLimit(group, 'memory.oom.group', 1)
  }
  if (controller === 'pids') setLimit(group, 'pids.max', limits.tasks)
  if (controller === 'cpu') setLimit(group, 'cpu.max', CPU_MAX)
  if (controller === 'cpuacct' && readKey(group, 'cpu.stat', 'usage_usec') === null) {
    throw new Error('cgroup: cpu.stat counts no usage')
  }
}

/** Older kernels count no peaks (memory: 5.19, pids: 6.11): the present value, which who asks often takes the highest of. */
export function readV2(group: string, controller: Controller): Partial<CgroupUsage> {
  if (controller === 'memory') {
    return {
      peakMemoryBytes: readNumber(group, 'memory.peak') ?? readNumber(group, 'memory.current'),
      oomKills: readKey(group, 'memory.events', 'oom_kill') ?? 0,
    }
  }
  if (controller === 'pids') {
    return { peakTasks: readNumber(group, 'pids.peak') ?? readNumber(group, 'pids.current') }
  }
  if (controller !== 'cpuacct') return {}
  const microseconds = readKey(group, 'cpu.stat', 'usage_usec')
  return { cpuMs: microseconds === null ? null : Math.round(microseconds / 1000) }
}
