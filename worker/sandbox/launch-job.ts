import { closeSync, openSync } from 'node:fs'
import { bubblewrapOptions, INSIDE } from './bubblewrap.ts'
import { descriptorPlan, type LaunchedJob, launch } from './launch.ts'
import { launchChain, limitedCommand } from './launch-chain.ts'
import type { Machine, SlotRun } from './machine.ts'
import { openPipe, type Pipe, type PipeName } from './pipes.ts'

export type Pipes = Partial<Record<PipeName, Pipe>> & Record<'stdout' | 'stderr', Pipe>

/**
 * Opens the job's pipes and spawns its launcher. When that fails nothing stays open: an end that did would take the
 * output of the slot's next job, and keep it from ever ending.
 */
export function launchJob(machine: Machine, run: SlotRun, tasks: number): { pipes: Pipes; job: LaunchedJob } {
  const opened: Pipe[] = []
  try {
    const pipes = openPipes(machine, run, opened)
    return { pipes, job: launchWith(machine, run, tasks, pipes) }
  } catch (error) {
    for (const { jobFd, stream } of opened) {
      closeSync(jobFd)
      stream.destroy()
    }
    throw error
  }
}

function openPipes(machine: Machine, run: SlotRun, opened: Pipe[]): Pipes {
  const open = (name: PipeName): Pipe => {
    const pipe = openPipe(machine.state.pipes, run.slot, name)
    opened.push(pipe)
    return pipe
  }
  return {
    stdout: open('stdout'),
    stderr: open('stderr'),
    ...(run.spec.stdin === undefined ? {} : { stdin: open('stdin') }),
    ...(run.spec.limits.archiveBytes > 0 ? { archive: open('archive') } : {}),
  }
}

function launchWith(machine: Machine, run: SlotRun, tasks: number, pipes: Pipes): LaunchedJob {
  const { spec, slotUid } = run
  const { tools, state, node } = machine
  const plan = descriptorPlan(pipes.archive !== undefined)
  const lastFd = pipes.archive === undefined ? '2' : '3'
  const forwarding = [INSIDE.node, INSIDE.forwarder, INSIDE.egress, lastFd]
  const command = spec.egressSocket === undefined ? spec.command : [...forwarding, ...spec.command]
  const inside = limitedCommand(tools.prlimit, tasks, command)
  const seccompFd = openSync(state.seccomp, 'r')
  const options: Parameters<typeof launch>[0] = {
    chain: launchChain({ tools, limits: spec.limits, slotUid, argsFd: plan.args, command: inside }),
    bubblewrapOptions: bubblewrapOptions({
      spec,
      seccompFd: plan.seccomp,
      statusFd: plan.status,
      etc: state.etc,
      forwarder: { node, script: state.forwarder },
    }),
    jobFds: [
      pipes.stdin?.jobFd ?? 'ignore',
      pipes.stdout.jobFd,
      pipes.stderr.jobFd,
      ...(pipes.archive === undefined ? [] : [pipes.archive.jobFd]),
    ],
    seccompFd,
    inherited: machine.inherited,
  }
  try {
    return launch(options)
  } catch (error) {
    closeSync(seccompFd)
    throw error
  }
}
