import { release } from 'node:os'
import type { Tools } from './prerequisites.ts'
import type { SandboxLimits } from './spec.ts'

/**
 * Where the descriptors of a launcher lie. 0 to 3 are the job's; the shell can name none above 9, so everything it is told
 * to close lies below. Secrets begin at the last, one each.
 */
export const FD = { archive: 3, script: 4, args: 5, seccomp: 6, status: 7, secrets: 8 } as const

/** bubblewrap outside and its init inside count as tasks of the job. */
const OWN_TASKS = 2
/** Node's threads in the egress forwarder: main, four of V8's platform, four of libuv's pool, signal watcher, spare. */
const FORWARDER_TASKS = 16

/** How many tasks (threads count) a job's limit of `pids` comes to with the sandbox's own among them. */
export function taskLimit(limits: SandboxLimits, withForwarder: boolean): number {
  return limits.pids + OWN_TASKS + (withForwarder ? FORWARDER_TASKS : 0)
}

/**
 * The argv that lowers rights step by step and ends in a shell that waits for `launchScript`: limits alike for all jobs,
 * then the slot's user (`slotUid`, only when the launcher is root) with no groups but `groups`, no capabilities, no new
 * privileges, death with the worker. No environment is needed anywhere.
 */
export function launchChain(options: {
  tools: Tools
  slotUid: number | undefined
  groups: readonly number[]
}): [string, ...string[]] {
  const { tools, slotUid, groups } = options
  const rlimits = ['--core=0:0', '--memlock=65536:65536', '--msgqueue=0:0', '--rtprio=0:0', '--nice=0:0']
  const membership = groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`
  // Root keeps every capability through bubblewrap and can remount a read-only bind as writable (bubblewrap#287).
  const asSlot =
    slotUid === undefined ? [] : [`--reuid=${slotUid}`, `--regid=${slotUid}`, membership, '--bounding-set=-all']
  const privileges = [...asSlot, '--inh-caps=-all', '--no-new-privs', '--pdeathsig', 'KILL']
  return [
    ...([tools.prlimit, ...rlimits, '--'] as const),
    ...[tools.setpriv, ...privileges, '--'],
    ...[tools.sh, `/proc/self/fd/${FD.script}`],
  ]
}

/**
 * What the waiting shell is told: to become bubblewrap, with nothing in the environment (a shell exports its folder, and
 * bash, where that is the shell, more than can be unset: it has -c for this). One compound command, so that a script cut short (the worker died
 * while writing it) is a syntax error and runs nothing.
 */
export function launchScript(options: {
  bwrap: string
  withStdin: boolean
  withArchive: boolean
  command: readonly string[]
}): string {
  const words = [options.bwrap, '--args', String(FD.args), '--', ...options.command].map(quote)
  const closed = [
    `${FD.script}<&-`,
    ...(options.withStdin ? [] : ['</dev/null']),
    ...(options.withArchive ? [] : [`${FD.archive}>&-`]),
  ]
  const bare = 'unset PWD OLDPWD SHLVL; c=; [ -z "$BASH_VERSION" ] || c=-c'
  return `{ ${bare}; exec $c ${[...words, ...closed].join(' ')}; }\n`
}

/** Between single quotes a POSIX shell changes nothing at all; the quote itself is said between others. */
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/**
 * The command as it starts inside, under the limits of its own job. RLIMIT_NPROC set there counts this sandbox alone,
 * whatever else its user runs (Linux 5.14 counts per user namespace); on an older kernel, where the count is per host
 * user, only the control group or the watchdog bounds it.
 */
export function limitedCommand(
  prlimit: string,
  limits: SandboxLimits,
  tasks: number,
  command: readonly string[],
): string[] {
  const rlimits = [
    `--nofile=${limits.openFiles}:${limits.openFiles}`,
    // The soft limit sends SIGXCPU; a job that ignores it meets SIGKILL a second later.
    `--cpu=${limits.cpuSeconds}:${limits.cpuSeconds + 1}`,
    `--fsize=${limits.fileBytes}:${limits.fileBytes}`, // the only thing that stops a sparse file of any size
    ...(countsProcessesPerNamespace() ? [`--nproc=${tasks}:${tasks}`] : []),
  ]
  return [prlimit, ...rlimits, '--', ...command]
}

function countsProcessesPerNamespace(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 5 || (major === 5 && minor >= 14)
}
