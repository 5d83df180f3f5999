import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { closingChain } from './inherited.ts'
import { FD } from './launch-chain.ts'
import { findStartTime, isNamespaceInit } from './process-tree.ts'

/** SIGKILL ends a process at its next return to user mode; one still there after this hangs in the kernel. */
const REAP_DEADLINE_MS = 15_000

/** A process of a job outlived SIGKILL: its slot must not be used again. */
export class ProcessSurvived extends Error {}

/** What turns a waiting launcher into a job. */
export interface LaunchOrder {
  readonly bubblewrapOptions: readonly string[]
  readonly script: string
  /** One for each descriptor the launcher was spawned with for them. */
  readonly secrets: readonly Uint8Array[]
}

export interface LaunchedJob {
  /** The launcher's pid outside, bubblewrap's later, from which every process of the job descends; undefined when nothing was spawned. */
  readonly pid: number | undefined
  /** Process 1 of the sandbox as a host pid, undefined until bubblewrap has made it. */
  initPid(): number | undefined
  /** Whether the launcher still waits or runs. */
  isAlive(): boolean
  /** Lets it begin: until then nothing of the job exists. Once only. */
  start(order: LaunchOrder): void
  /** SIGKILL to everything; safe at any moment, also before `start`. */
  kill(): void
  /**
   * Resolves when no process of the job is left. `commandRan` is false when bubblewrap itself gave up; `exitCode` is
   * the command's, 128 + n after signal n (bubblewrap does not tell the two apart).
   */
  readonly ended: Promise<{ exitCode: number | null; signal: string | null; commandRan: boolean }>
}

/**
 * Spawns the chain with an empty environment (bubblewrap is process 1 inside, its environment readable there) and leaves
 * it waiting for its script, so that limits can be put on its pid first. `jobFds` are 0 to 3, `script` the worker's end of
 * the pipe whose other is `scriptFd`; all given descriptors are closed here, except when it throws (no descriptors left):
 * then nothing runs and they stay the caller's. A launcher that waits does not keep this process alive.
 */
export function launch(options: {
  chain: readonly [string, ...string[]]
  jobFds: readonly [number, number, number, number]
  scriptFd: number
  script: Socket
  seccompFd: number
  secrets: number
  /** What this process would otherwise hand on, see findInheritedDescriptors. */
  inherited: readonly number[]
}): LaunchedJob {
  const given = [...options.jobFds, options.scriptFd, options.seccompFd]
  // Lower numbers are the job's and the launcher's own, put in place over whatever lay there.
  const stray = options.inherited.filter((fd) => fd >= FD.secrets + options.secrets)
  const [program, ...args] = closingChain(stray, options.chain)
  const secretFds = Array.from({ length: options.secrets }, () => 'pipe' as const)
  const child = spawn(program, args, {
    env: {},
    cwd: '/',
    detached: true, // its own session: Ctrl-C in the worker's terminal must not end jobs the worker wants to drain
    stdio: [...options.jobFds, options.scriptFd, 'pipe', options.seccompFd, 'pipe', ...secretFds],
  })
  const spawnFailed = new Promise<never>((_, reject) => child.once('error', reject))
  spawnFailed.catch(() => {}) // whoever waits for `ended` hears it; without descriptors left (EMFILE) the throw below says it
  const gate = ownEnd(child, FD.args)
  const status = ownEnd(child, FD.status)
  const secretEnds = secretFds.map((_, at) => ownEnd(child, FD.secrets + at))
  const written = [gate, options.script, ...secretEnds]
  const ends = [status, ...written]
  for (const fd of given) closeSync(fd)
  const report = watchReport(status, () => killing && killAll())
  let started = false
  let killing = false
  const killAll = (): void => {
    // Process 1 first: its end takes the whole namespace along, even if bubblewrap had not tied it to itself yet.
    if (report.init !== undefined) killInit(report.init)
    child.kill('SIGKILL')
  }
  // They carry little and end with bubblewrap; a reset when it is killed says nothing `exit` does not say.
  for (const end of ends) end.on('error', () => {})
  child.unref()
  for (const end of ends) end.unref()
  const hold = (): void => {
    child.ref()
    for (const end of ends) end.ref()
  }

  return {
    pid: child.pid,
    initPid: () => report.init?.pid,
    // The kernel is asked too: that it has ended reaches `child` only with the next turn of the event loop.
    isAlive: () =>
      child.pid !== undefined &&
      child.exitCode === null &&
      child.signalCode === null &&
      findStartTime(child.pid) !== undefined,
    start(order) {
      started = true
      hold()
      // One write: a small message to a socket goes whole or not at all, should the worker die right here.
      gate.end(order.bubblewrapOptions.map((option) => `${option}\0`).join(''))
      for (const [at, secret] of order.secrets.entries()) secretEnds[at]?.end(secret)
      // Not ended: the shell may not have opened the pipe yet, and opening one that nobody writes any more waits forever.
      options.script.write(order.script)
    },
    kill() {
      killing = true
      hold()
      // Between the script and the report process 1 may exist without our knowing its pid: then the report triggers it.
      if (!started || report.init !== undefined) killAll()
    },
    ended: Promise.race([waitForEnd(child, written, report), spawnFailed]),
  }
}

function ownEnd(child: ChildProcess, fd: number): Socket {
  const stream = child.stdio?.[fd]
  if (!(stream instanceof Socket)) throw new Error('sandbox: a pipe to the launcher is missing')
  return stream
}

interface Init {
  pid: number
  startTime: string | undefined
}

interface Report {
  text: string
  init: Init | undefined
  closed: Promise<void>
}

/** Reads what bubblewrap says of itself; `onInit` is called once it has named process 1. */
function watchReport(status: Socket, onInit: () => void): Report {
  const closed = new Promise<void>((resolve) => status.once('close', () => resolve()))
  const report: Report = { text: '', init: undefined, closed }
  status.on('data', (chunk: Buffer) => {
    report.text += chunk.toString('latin1')
    if (report.init !== undefined) return
    const pid = /"child-pid": (\d+)/.exec(report.text)?.[1]
    if (pid === undefined) return
    report.init = { pid: Number(pid), startTime: findStartTime(Number(pid)) }
    onInit()
  })
  return report
}

async function waitForEnd(
  child: ChildProcess,
  written: readonly Socket[],
  report: Report,
): Promise<{ exitCode: number | null; signal: string | null; commandRan: boolean }> {
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  for (const end of written) end.destroy()
  await report.closed
  if (report.init !== undefined) await requireGone(report.init)
  return { exitCode: code, signal, commandRan: /"exit-code": \d+/.test(report.text) }
}

function killInit(init: Init): void {
  // The number may belong to somebody else by now: only the very process bubblewrap named is ours.
  if (init.startTime === undefined || findStartTime(init.pid) !== init.startTime || !isNamespaceInit(init.pid)) return
  try {
    process.kill(init.pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Process 1 of a pid namespace is gone only when the kernel has killed and reaped every other process in it. */
async function requireGone(init: Init): Promise<void> {
  if (init.startTime === undefined) return
  const deadline = performance.now() + REAP_DEADLINE_MS
  for (let pauseMs = 1; findStartTime(init.pid) === init.startTime; pauseMs = Math.min(pauseMs * 2, 50)) {
    killInit(init)
    if (performance.now() > deadline) throw new ProcessSurvived(`sandbox: process ${init.pid} survived SIGKILL`)
    await wait(pauseMs)
  }
}
