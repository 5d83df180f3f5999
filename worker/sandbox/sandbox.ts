import { type CgroupParents, openCgroups } from './cgroups.ts'
import type { Gpu } from './gpu.ts'
import { findInheritedDescriptors } from './inherited.ts'
import type { Machine } from './machine.ts'
import { openParking } from './parking.ts'
import { explainRefusal, readKernelSwitches, requirePlatform, requireTools } from './prerequisites.ts'
import { LaunchRefused, runInSlot } from './run-job.ts'
import type { Sandbox, SandboxLimits, SandboxResult, SandboxSpec } from './spec.ts'
import { makeState } from './state.ts'

export interface SandboxOptions {
  /** How many jobs may run at once; as root each has a user of its own, uid 61001 + slot. */
  slots: number
  /** Folders of controllers this user may make groups in; `unified` is one of cgroup v2. Default: looked for. */
  cgroupParent?: CgroupParents | undefined
  /** Default: the binary this process runs. */
  node?: string
  /** What jobs that ask for a GPU are given, from `findGranted`; default none. */
  gpus?: readonly Gpu[]
  /** The longest a job may hold them, whatever its own limit says; default an hour. */
  gpuMaxMs?: number
  /** How many launchers wait ahead of their jobs, each a shell of a megabyte; 0 makes every job wait for its own. Default 2. */
  parked?: number
}

/** Far from people and services (system < 1000, people < 60000, nobody 65534); systemd's dynamic users start at 61184. */
const FIRST_SLOT_UID = 61_001
const MAX_SLOTS = 128
const PARKED = 2
const GPU_MAX_MS = 3_600_000

const TRIAL: SandboxLimits = {
  wallMs: 20_000,
  cpuSeconds: 10,
  memoryBytes: 128 * 1024 * 1024,
  pids: 16,
  diskBytes: 1024 * 1024,
  fileBytes: 1024 * 1024,
  outputBytes: 65_536,
  archiveBytes: 0,
  openFiles: 64,
}

/**
 * Probes the machine and runs one trial job. Throws SandboxUnavailable when jobs cannot be run as described; a limit
 * that merely has no cgroup is left to the watchdog and shows in `layers`.
 */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  if (!Number.isInteger(options.slots) || options.slots < 1 || options.slots > MAX_SLOTS) {
    throw new RangeError(`sandbox: slots must be 1 to ${MAX_SLOTS}`)
  }
  requirePlatform(process.platform, process.arch)
  const tools = requireTools()
  const isRoot = process.getuid?.() === 0
  const state = makeState({ tools, slots: options.slots, arch: process.arch })
  const cgroups = openCgroups(state.name, options.cgroupParent)
  if (cgroups.held.has('memory')) state.trustMemory()
  const layers = ['namespaces', 'seccomp', 'rlimits', ...(isRoot ? ['user-slot'] : []), ...cgroups.layers]
  if (!cgroups.held.has('memory') || !cgroups.held.has('pids')) layers.push('rss-watchdog')
  const node = options.node ?? process.execPath
  const machine: Machine = {
    tools,
    state,
    cgroups,
    layers,
    node,
    inherited: findInheritedDescriptors(),
    gpus: options.gpus ?? [],
    gpuMaxMs: options.gpuMaxMs ?? GPU_MAX_MS,
    slotUid: (slot) => (isRoot ? FIRST_SLOT_UID + slot : undefined),
    trash: new Set(),
  }

  const parking = openParking(machine)
  const freeSlots = Array.from({ length: options.slots }, (_, slot) => slot)
  const running = new Set<Promise<unknown>>()
  const closing = new AbortController()

  async function runInFreeSlot(spec: SandboxSpec): Promise<SandboxResult> {
    if (closing.signal.aborted) throw new Error('sandbox: closed')
    const slot = freeSlots.shift()
    if (slot === undefined) throw new Error(`sandbox: all ${options.slots} slots are taken`)
    let reusable = true
    try {
      return await runInSlot(machine, {
        spec,
        slot,
        takeLauncher: (needs) => parking.take(slot, needs),
        closing: closing.signal,
        onUnusable: () => (reusable = false),
      })
    } finally {
      if (reusable) freeSlots.push(slot)
      prepare()
    }
  }
  function prepare(): void {
    if (!closing.signal.aborted) parking.prepare(freeSlots.slice(0, options.parked ?? PARKED))
  }
  function run(spec: SandboxSpec): Promise<SandboxResult> {
    const job = runInFreeSlot(spec)
    const settled: Promise<unknown> = job.then(
      () => running.delete(settled),
      () => running.delete(settled), // the caller holds `job` and sees its error
    )
    running.add(settled)
    return job
  }
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closeAll())
  async function closeAll(): Promise<void> {
    closing.abort()
    await Promise.all([...running])
    await parking.close()
    await Promise.all([...machine.trash])
    await state.remove(cgroups)
  }

  try {
    let said = ''
    const trial = await run({ command: ['/bin/true'], limits: TRIAL, onOutput: (_, chunk) => (said += chunk) })
    if (trial.exitCode !== 0) throw new LaunchRefused(said)
  } catch (error) {
    await close()
    if (error instanceof LaunchRefused) throw explainRefusal(error.complaint, readKernelSwitches())
    throw error
  }
  return { run, layers, node, close, [Symbol.asyncDispose]: close }
}
