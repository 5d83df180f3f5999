import { closeSync, openSync } from 'node:fs'
import { bubblewrapOptions, INSIDE } from './bubblewrap.ts'
import { type JobCgroup, makeJobCgroup } from './cgroups.ts'
import { GpuUnavailable, gpuGroups } from './gpu.ts'
import { type LaunchedJob, launch } from './launch.ts'
import { FD, launchChain, launchScript, limitedCommand } from './launch-chain.ts'
import type { Machine } from './machine.ts'
import { openPipe, type Pipe, type PipeName } from './pipes.ts'
import type { SandboxSpec } from './spec.ts'

/**
 * A process that waits to become one job: already the slot's user, without privileges, in control groups of its own. It has
 * run nothing of any job, it runs one, and dies with the worker.
 */
export interface Launcher {
  readonly job: LaunchedJob
  readonly pipes: Readonly<Record<PipeName, Pipe>>
  readonly cgroup: JobCgroup
}

/** What must be there before the job is: descriptors and groups cannot be added to a running process. */
export interface LauncherNeeds {
  readonly secrets: number
  readonly groups: readonly number[]
}

export const USUAL_NEEDS: LauncherNeeds = { secrets: 0, groups: [] }

/** What a job needs beyond the usual; throws GpuUnavailable when it asks for a GPU the worker does not grant. */
export function launcherNeeds(machine: Machine, spec: SandboxSpec): LauncherNeeds {
  if (spec.gpu === true && machine.gpus.length === 0) throw new GpuUnavailable()
  return {
    secrets: Object.keys(spec.secrets ?? {}).length,
    groups: spec.gpu === true ? gpuGroups(machine.gpus) : [],
  }
}

let launchers = 0

/**
 * Spawns a launcher in a slot that holds none, and puts it into its control groups. When that fails nothing stays: an open
 * end of a pipe would take the output of the slot's next job, and keep it from ever ending.
 */
export async function park(machine: Machine, slot: number, needs: LauncherNeeds): Promise<Launcher> {
  launchers += 1
  const cgroup = makeJobCgroup(machine.cgroups, `slot-${slot}-${launchers}`)
  let launcher: Launcher
  try {
    launcher = { ...spawnLauncher(machine, slot, needs), cgroup }
  } catch (error) {
    await cgroup.remove()
    throw error
  }
  try {
    // A launcher that has ended by itself is found out when it is used, with what it said.
    if (launcher.job.pid !== undefined) await cgroup.attach(launcher.job.pid).catch(ignoreEnded)
    return launcher
  } catch (error) {
    await discard(machine, launcher)
    throw error
  }
}

function spawnLauncher(machine: Machine, slot: number, needs: LauncherNeeds): Pick<Launcher, 'job' | 'pipes'> {
  const opened: Pipe[] = []
  const open = (name: PipeName): Pipe => {
    const pipe = openPipe(machine.state.pipes, slot, name)
    opened.push(pipe)
    pipe.stream.unref()
    return pipe
  }
  let seccompFd: number | undefined
  try {
    const pipes = {
      ...{ stdin: open('stdin'), stdout: open('stdout'), stderr: open('stderr') },
      ...{ archive: open('archive'), script: open('script') },
    }
    seccompFd = openSync(machine.state.seccomp, 'r')
    const job = launch({
      chain: launchChain({ tools: machine.tools, slotUid: machine.slotUid(slot), groups: needs.groups }),
      jobFds: [pipes.stdin.jobFd, pipes.stdout.jobFd, pipes.stderr.jobFd, pipes.archive.jobFd],
      scriptFd: pipes.script.jobFd,
      script: pipes.script.stream,
      seccompFd,
      secrets: needs.secrets,
      inherited: machine.inherited,
    })
    return { job, pipes }
  } catch (error) {
    if (seccompFd !== undefined) closeSync(seccompFd)
    for (const { jobFd, stream } of opened) {
      closeSync(jobFd)
      stream.destroy()
    }
    throw error
  }
}

/** Sets the job's limits, which must hold before anything runs, and lets the launcher become it. */
export function begin(machine: Machine, launcher: Launcher, spec: SandboxSpec, tasks: number): void {
  const { tools, state, node } = machine
  launcher.cgroup.limit({ memoryBytes: spec.limits.memoryBytes, tasks })
  const withArchive = spec.limits.archiveBytes > 0
  const forwarding = [INSIDE.node, INSIDE.forwarder, INSIDE.egress, withArchive ? '3' : '2']
  const command = spec.egressSocket === undefined ? spec.command : [...forwarding, ...spec.command]
  for (const { stream } of Object.values(launcher.pipes)) stream.ref()
  launcher.job.start({
    bubblewrapOptions: bubblewrapOptions({
      spec,
      descriptors: FD,
      etc: state.etc,
      forwarder: { node, script: state.forwarder },
      gpus: machine.gpus,
    }),
    script: launchScript({
      bwrap: tools.bwrap,
      withStdin: spec.stdin !== undefined,
      withArchive,
      command: limitedCommand(tools.prlimit, spec.limits, tasks, command),
    }),
    secrets: Object.values(spec.secrets ?? {}),
  })
}

/** Ends a launcher, or what has become of it, and removes its control groups in the background. */
export async function discard(machine: Machine, launcher: Launcher): Promise<void> {
  try {
    launcher.job.kill()
    if (launcher.job.pid !== undefined) await launcher.job.ended
  } finally {
    release(machine, launcher)
  }
}

/** Closes what an ended launcher leaves; its groups go in the background, since the kernel may hold them for a moment. */
export function release(machine: Machine, { pipes, cgroup }: Launcher): void {
  for (const { stream } of Object.values(pipes)) stream.destroy()
  const removal: Promise<void> = cgroup
    .remove()
    .catch(() => {}) // closing tries again and reports what is still held
    .then(() => void machine.trash.delete(removal))
  machine.trash.add(removal)
}

function ignoreEnded(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
}
