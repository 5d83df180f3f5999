import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { readFile, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const ROOT = '/sys/fs/cgroup'
/** One core: the quota equals the period (kernel doc sched-bwc). */
const CPU_PERIOD_US = 100_000
/** An exiting task may hold its group for a moment: rmdir answers EBUSY (57 of 408 jobs, measured), so it is retried. */
const REMOVE_ATTEMPTS = 20
const REMOVE_PAUSE_MS = 25

export type Controller = 'memory' | 'pids' | 'cpu' | 'cpuacct'

/** The folders job groups are made in, one per controller that limits really hold in. */
export interface CgroupFolders {
  readonly folders: Readonly<Partial<Record<Controller, string>>>
  /** Layer names of what is limited: a controller that only counts (cpuacct) is none. */
  readonly layers: readonly string[]
}

/** The limits one job's groups are made with; `tasks` counts threads. */
export interface CgroupLimits {
  memoryBytes: number
  tasks: number
}

/**
 * Finds where job groups can be made: below the delegated parents when given, else (as root) below the v1 hierarchies'
 * roots. Proves each controller by making a group, setting the limit and reading it back; one that fails is left out.
 * cgroup v2 (`unified`) is not used yet. `name` is `hivesync-<pid>-<random>`; what dead workers left under such is removed.
 */
export function openCgroups(
  name: string,
  parents: Readonly<Partial<Record<'memory' | 'pids' | 'cpu' | 'unified', string>>> | undefined,
): CgroupFolders {
  const folders: Partial<Record<Controller, string>> = {}
  const controllers: readonly Controller[] = ['memory', 'pids', 'cpu', 'cpuacct']
  for (const controller of controllers) {
    const given = controller === 'cpuacct' ? parents?.cpu : parents?.[controller]
    if (parents !== undefined && given === undefined) continue
    const parent = given ?? join(ROOT, controller)
    if (!isWritableV1(parent)) continue
    sweep(parent)
    const folder = join(parent, `${name}-${pidNamespace()}`)
    if (canLimit(controller, folder)) folders[controller] = folder
  }
  const limiting = (['memory', 'pids', 'cpu'] as const).filter((controller) => folders[controller] !== undefined)
  return { folders, layers: limiting.map((controller) => `cgroup-v1-${controller}`) }
}

/** A v1 folder has `tasks`; v2 has `cgroup.controllers` in its place. */
function isWritableV1(folder: string): boolean {
  if (!existsSync(join(folder, 'tasks'))) return false
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false // an answer, not a failure: this user may not make groups here
  }
}

function canLimit(controller: Controller, folder: string): boolean {
  const proof = join(folder, 'proof')
  try {
    mkdirSync(proof, { recursive: true })
    setLimits(controller, proof, { memoryBytes: 64 * 1024 * 1024, tasks: 8 })
    return true
  } catch {
    return false // openCgroups names only what held; the watchdog takes over the rest
  } finally {
    removeTree(folder)
  }
}

function setLimits(controller: Controller, folder: string, limits: CgroupLimits): void {
  const set = (file: string, value: number): void => {
    writeFileSync(join(folder, file), String(value))
    const held = Number(readFileSync(join(folder, file), 'latin1'))
    // The kernel rounds memory down to whole pages.
    if (held !== value && (file.startsWith('memory') ? value - held >= 65_536 || held > value : true)) {
      throw new Error(`cgroup: ${file} took ${held} instead of ${value}`)
    }
  }
  if (controller === 'memory') {
    set('memory.limit_in_bytes', limits.memoryBytes)
    // Swap would stretch the limit: count it in, or where the kernel does not count it, allow none.
    if (existsSync(join(folder, 'memory.memsw.limit_in_bytes'))) set('memory.memsw.limit_in_bytes', limits.memoryBytes)
    else set('memory.swappiness', 0)
  }
  if (controller === 'pids') set('pids.max', limits.tasks)
  if (controller === 'cpu') {
    set('cpu.cfs_period_us', CPU_PERIOD_US)
    set('cpu.cfs_quota_us', CPU_PERIOD_US)
  }
  if (controller === 'cpuacct' && !existsSync(join(folder, 'cpuacct.usage')))
    throw new Error('cgroup: no cpuacct.usage')
}

/** The groups of one job. */
export interface JobCgroup {
  /** Moves a process (its later children follow) into every group; rejects when any refuses it. */
  attach(pid: number): Promise<void>
  /** What the kernel counted; null where no controller counts it. `oomKills` is how many processes the memory limit ended. */
  usage(): { cpuMs: number | null; peakMemoryBytes: number | null; oomKills: number }
  remove(): Promise<void>
}

/** Makes the groups of one job with their limits set; throws when a limit does not take, before anything runs. */
export function makeJobCgroup(cgroups: CgroupFolders, job: string, limits: CgroupLimits): JobCgroup {
  const groups = new Map<Controller, string>()
  try {
    for (const [controller, folder] of Object.entries(cgroups.folders) as [Controller, string][]) {
      const group = join(folder, job)
      mkdirSync(group, { recursive: true })
      groups.set(controller, group)
      setLimits(controller, group, limits)
    }
  } catch (error) {
    for (const group of groups.values()) removeTree(group)
    throw error
  }
  const number = (controller: Controller, file: string): number | null => {
    const group = groups.get(controller)
    return group === undefined ? null : Number(readFileSync(join(group, file), 'latin1'))
  }
  return {
    async attach(pid) {
      // The kernel's work is the attaching (up to 15 ms, measured), so it must not hold the event loop.
      await Promise.all([...groups.values()].map((group) => writeFile(join(group, 'cgroup.procs'), String(pid))))
    },
    usage() {
      const nanoseconds = number('cpuacct', 'cpuacct.usage')
      const memory = groups.get('memory')
      const oom = memory === undefined ? '' : readFileSync(join(memory, 'memory.oom_control'), 'latin1')
      return {
        cpuMs: nanoseconds === null ? null : Math.round(nanoseconds / 1e6),
        peakMemoryBytes: number('memory', 'memory.max_usage_in_bytes'),
        oomKills: Number(/^oom_kill (\d+)$/m.exec(oom)?.[1] ?? 0),
      }
    },
    async remove() {
      await Promise.all([...groups.values()].map(removeWithRetries))
    },
  }
}

/** Removes the sandbox's folders; what another process still holds is left for the next sweep. */
export async function closeCgroups(cgroups: CgroupFolders): Promise<void> {
  for (const folder of Object.values(cgroups.folders)) {
    await Promise.all(listFolders(folder).map((child) => removeWithRetries(join(folder, child))))
    await removeWithRetries(folder)
    sweep(dirname(folder))
  }
}

async function removeWithRetries(folder: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rmdir(folder)
      return
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return
      if (codeOf(error) !== 'EBUSY' || attempt === REMOVE_ATTEMPTS) {
        const holders = await readFile(join(folder, 'cgroup.procs'), 'latin1').catch(() => '')
        throw new Error(`cgroup ${folder} cannot be removed; its processes: ${holders.trim() || 'none'}`, {
          cause: error,
        })
      }
      await wait(REMOVE_PAUSE_MS)
    }
  }
}

/**
 * Removes what a worker that was killed left behind. Its jobs died with it; should one have found a way not to, whatever
 * a group of a dead worker still holds is killed.
 */
function sweep(parent: string): void {
  for (const child of listFolders(parent)) {
    const [, owner, namespace] = /^hivesync-(\d+)-\w{6}-(\d+)$/.exec(child) ?? []
    if (owner === undefined || namespace !== pidNamespace() || existsSync(`/proc/${owner}`)) continue
    const folder = join(parent, child)
    for (const group of listFolders(folder)) killHeld(join(folder, group))
    removeTree(folder)
  }
}

/** Containers may share the control groups and yet not each other's processes: elsewhere a pid tells nothing of its worker. */
function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
}

function killHeld(group: string): void {
  const pids = readFileSync(join(group, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean).map(Number)
  // 0 stands for a process of another pid namespace, and would mean this very process group.
  for (const pid of pids.filter((held) => held > 1)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (!['ESRCH', 'EPERM'].includes(codeOf(error))) throw error
    }
  }
}

function removeTree(folder: string): void {
  for (const path of [...listFolders(folder).map((child) => join(folder, child)), folder]) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (!['EBUSY', 'ENOENT', 'EACCES', 'EPERM'].includes(codeOf(error))) throw error
    }
  }
}

function listFolders(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => basename(entry.name))
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')
