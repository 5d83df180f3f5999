import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { killHeld, listFolders, pidNamespace, removeTree, removeWithRetries, sweep } from './cgroup-folders.ts'
import { findV1Parent, limitV1, readV1 } from './cgroup-v1.ts'
import { findV2Parent, handDown, limitV2, readUnifiedView, readV2 } from './cgroup-v2.ts'

export type Controller = 'memory' | 'pids' | 'cpu' | 'cpuacct'

/** Folders of controllers this user may make groups in; `unified` is one of cgroup v2. */
export type CgroupParents = Readonly<Partial<Record<'memory' | 'pids' | 'cpu' | 'unified', string>>>

/** A folder job groups are made in, and what limits or counts there. */
interface Hierarchy {
  readonly version: 1 | 2
  readonly folder: string
  readonly controllers: readonly Controller[]
}

export interface Cgroups {
  readonly hierarchies: readonly Hierarchy[]
  /** What holds in the kernel; cpuacct only counts. */
  readonly held: ReadonlySet<Controller>
  /** `cgroup-v1-memory`, `cgroup-v2-pids`, …: only what limits. */
  readonly layers: readonly string[]
}

/** The limits one job's groups are given; `tasks` counts threads. One core of CPU where the controller is there. */
export interface CgroupLimits {
  memoryBytes: number
  tasks: number
}

/** What the kernel counted; null where no controller counts it. `oomKills` is how many processes the memory limit ended. */
export interface CgroupUsage {
  cpuMs: number | null
  peakMemoryBytes: number | null
  peakTasks: number | null
  oomKills: number
}

const PROOF: CgroupLimits = { memoryBytes: 64 * 1024 * 1024, tasks: 8 }

/**
 * Finds where job groups can be made: below the parents when given, else where this user may. A controller lives in one
 * hierarchy only: what v1 does not hold is looked for in v2 (a hybrid machine has both). Proves each by making a group,
 * setting the limit and reading it back; one that fails is left out. `name` is `hivesync-<pid>-<random>`; what dead workers
 * left under such a name is removed.
 */
export function openCgroups(name: string, parents: CgroupParents | undefined): Cgroups {
  const own = `${name}-${pidNamespace()}`
  const first = openV1(own, parents)
  const taken = first.flatMap(({ controllers }) => controllers)
  const hierarchies = [...first, ...openV2(own, parents, taken)]
  const layers = hierarchies.flatMap(({ version, controllers }) =>
    controllers.flatMap((controller) => (controller === 'cpuacct' ? [] : [`cgroup-v${version}-${controller}`])),
  )
  return { hierarchies, held: new Set(hierarchies.flatMap(({ controllers }) => controllers)), layers }
}

function openV1(name: string, parents: CgroupParents | undefined): Hierarchy[] {
  return (['memory', 'pids', 'cpu', 'cpuacct'] as const).flatMap((controller) => {
    const parent = findV1Parent(controller, parents)
    if (parent === undefined) return []
    sweep(parent)
    const hierarchy: Hierarchy = { version: 1, folder: join(parent, name), controllers: [controller] }
    return canLimit(hierarchy, controller) ? [hierarchy] : []
  })
}

function openV2(name: string, parents: CgroupParents | undefined, taken: readonly Controller[]): Hierarchy[] {
  const parent = parents === undefined ? findV2Parent(readUnifiedView()) : parents.unified
  if (parent === undefined || !existsSync(join(parent, 'cgroup.controllers'))) return []
  sweep(parent)
  const folder = join(parent, name)
  try {
    if (handDown(parent).length === 0) return []
    mkdirSync(folder)
    const handed = handDown(folder).filter((controller) => !taken.includes(controller))
    const controllers = handed.filter((controller) => canLimit({ version: 2, folder, controllers: handed }, controller))
    // Counting alone is not worth moving every job into a further group.
    if (controllers.some((controller) => controller !== 'cpuacct')) return [{ version: 2, folder, controllers }]
  } catch (error) {
    removeTree(folder)
    if (!(error instanceof Error && 'code' in error)) throw error
    return [] // not ours to write: the layers name what held, and the watchdog takes over the rest
  }
  removeTree(folder)
  return []
}

function canLimit(hierarchy: Hierarchy, controller: Controller): boolean {
  const proof = join(hierarchy.folder, 'proof')
  try {
    mkdirSync(proof, { recursive: true })
    limitIn(hierarchy.version, proof, controller, PROOF)
    return true
  } catch {
    return false // openCgroups names only what held; the watchdog takes over the rest
  } finally {
    removeTree(proof)
    if (hierarchy.version === 1) removeTree(hierarchy.folder)
  }
}

const limitIn = (version: 1 | 2, group: string, controller: Controller, limits: CgroupLimits): void =>
  version === 1 ? limitV1(group, controller, limits) : limitV2(group, controller, limits)

/** The groups of one job. */
export interface JobCgroup {
  /** Moves a process (its later children follow) into every group; rejects when any refuses it. */
  attach(pid: number): Promise<void>
  /** Sets the limits; throws when one does not take, and then nothing may run. */
  limit(limits: CgroupLimits): void
  usage(): CgroupUsage
  /** SIGKILL to all the groups hold, where the kernel does that at once; elsewhere nothing. */
  kill(): void
  remove(): Promise<void>
}

/** Makes the groups of one job, without limits yet. */
export function makeJobCgroup(cgroups: Cgroups, job: string): JobCgroup {
  const groups = cgroups.hierarchies.map((hierarchy) => ({ ...hierarchy, path: join(hierarchy.folder, job) }))
  try {
    for (const { path } of groups) mkdirSync(path, { recursive: true })
  } catch (error) {
    for (const { path } of groups) removeTree(path)
    throw error
  }
  return {
    async attach(pid) {
      // The kernel's work is the attaching (up to 15 ms, measured), so it must not hold the event loop.
      await Promise.all(groups.map(({ path }) => writeFile(join(path, 'cgroup.procs'), String(pid))))
    },
    limit(limits) {
      for (const { version, path, controllers } of groups) {
        for (const controller of controllers) limitIn(version, path, controller, limits)
      }
    },
    usage() {
      const counted: CgroupUsage = { cpuMs: null, peakMemoryBytes: null, peakTasks: null, oomKills: 0 }
      const parts = groups.flatMap(({ version, path, controllers }) =>
        controllers.map((controller) => (version === 1 ? readV1(path, controller) : readV2(path, controller))),
      )
      return Object.assign(counted, ...parts)
    },
    kill() {
      for (const { version, path } of groups) if (version === 2 && existsSync(path)) killHeld(path)
    },
    async remove() {
      await Promise.all(groups.map(({ path }) => removeWithRetries(path)))
    },
  }
}

/** Removes the sandbox's folders; what another process still holds is left for the next sweep. */
export async function closeCgroups(cgroups: Cgroups): Promise<void> {
  for (const { folder } of cgroups.hierarchies) {
    await Promise.all(listFolders(folder).map((child) => removeWithRetries(join(folder, child))))
    await removeWithRetries(folder)
    sweep(dirname(folder))
  }
}
