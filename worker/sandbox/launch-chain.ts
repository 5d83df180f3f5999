import { release } from 'node:os'
import type { Tools } from './prerequisites.ts'
import type { SandboxLimits } from './spec.ts'

/** bubblewrap outside and its init inside count as tasks of the job. */
const OWN_TASKS = 2
/** Node's threads in the egress forwarder: main, four of V8's platform, four of libuv's pool, signal watcher, spare. */
const FORWARDER_TASKS = 16

/** How many tasks (threads count) a job's limit of `pids` comes to with the sandbox's own among them. */
export function taskLimit(limits: SandboxLimits, withForwarder: boolean): number {
  return limits.pids + OWN_TASKS + (withForwarder ? FORWARDER_TASKS : 0)
}

/**
 * The argv that lowers rights step by step and ends in bubblewrap: limits, then the slot's user (`slotUid`, only when the
 * launcher is root), no capabilities, no new privileges, death with the worker. No environment is needed anywhere.
 */
export function launchChain(options: {
  tools: Tools
  limits: SandboxLimits
  slotUid: number | undefined
  argsFd: number
  command: readonly string[]
}): [string, ...string[]] {
  const { tools, limits, slotUid } = options
  const rlimits = [
    `--nofile=${limits.openFiles}:${limits.openFiles}`,
    // The soft limit sends SIGXCPU; a job that ignores it meets SIGKILL a second later.
    `--cpu=${limits.cpuSeconds}:${limits.cpuSeconds + 1}`,
    `--fsize=${limits.fileBytes}:${limits.fileBytes}`, // the only thing that stops a sparse file of any size
    ...['--core=0:0', '--memlock=65536:65536', '--msgqueue=0:0', '--rtprio=0:0', '--nice=0:0'],
  ]
  // Root keeps every capability through bubblewrap and can remount a read-only bind as writable (bubblewrap#287).
  const asSlot =
    slotUid === undefined ? [] : [`--reuid=${slotUid}`, `--regid=${slotUid}`, '--clear-groups', '--bounding-set=-all']
  const privileges = [...asSlot, '--inh-caps=-all', '--no-new-privs', '--pdeathsig', 'KILL']
  return [
    ...([tools.prlimit, ...rlimits, '--'] as const),
    ...[tools.setpriv, ...privileges, '--'],
    ...[tools.bwrap, '--args', String(options.argsFd), '--', ...options.command],
  ]
}

/**
 * The command as it starts inside: RLIMIT_NPROC set there counts this sandbox alone, whatever else its user runs (Linux
 * 5.14 counts per user namespace). On an older kernel the count is per host user, so only the watchdog bounds it.
 */
export function limitedCommand(prlimit: string, tasks: number, command: readonly string[]): string[] {
  return countsProcessesPerNamespace() ? [prlimit, `--nproc=${tasks}:${tasks}`, '--', ...command] : [...command]
}

function countsProcessesPerNamespace(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 5 || (major === 5 && minor >= 14)
}
