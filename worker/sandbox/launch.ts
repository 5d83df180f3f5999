import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { closingChain } from './inherited.ts'
import { findStartTime, isNamespaceInit } from './process-tree.ts'

/** SIGKILL ends a process at its next return to user mode; one still there after this hangs in the kernel. */
const REAP_DEADLINE_MS = 15_000

/** Where the launcher's own descriptors lie: 3 belongs to the job when it has an archive and is closed otherwise. */
export function descriptorPlan(withArchive: boolean): { args: number; seccomp: number; status: number } {
  const first = withArchive ? 4 : 3
  return { args: first, seccomp: first + 1, status: first + 2 }
}

/** A process of a job outlived SIGKILL: its slot must not be used again. */
export class ProcessSurvived extends Error {}

export interface LaunchedJob {
  /** bubblewrap's own pid (outside), from which every process of the job descends; undefined when nothing was spawned. */
  readonly pid: number | undefined
  /** Process 1 of the sandbox as a host pid, undefined until bubblewrap has made it. */
  initPid(): number | undefined
  /** Lets bubblewrap begin: until then nothing of the job exists. */
  start(): void
  /** SIGKILL to everything; safe at any moment, also before `start`. */
  kill(): void
  /**
   * Resolves when no process of the job is left. `commandRan` is false when bubblewrap itself gave up; `exitCode` is
   * the command's, 128 + n after signal n (bubblewrap does not tell the two apart).
   */
  readonly ended: Promise<{ exitCode: number | null; signal: string | null; commandRan: boolean }>
}

/**
 * Spawns the chain with an empty environment (bubblewrap is process 1 inside, its environment readable there) and holds
 * it at a gate: bubblewrap waits for its options on a pipe, so limits can be put on its pid first. `jobFds` are 0, 1, 2
 * and, for an archive, 3; all given descriptors are closed here, except when it throws (no descriptors left, a command
 * longer than the kernel takes): then nothing runs and they stay the caller's.
 */
export function launch(options: {
  chain: readonly [string, ...string[]]
  bubblewrapOptions: readonly string[]
  jobFds: readonly (number | 'ignore')[]
  seccompFd: number
  /** What this process would otherwise hand on, see findInheritedDescriptors. */
  inherited: readonly number[]
}): LaunchedJob {
  const { chain, jobFds, seccompFd } = options
  const plan = descriptorPlan(jobFds.length > 3)
  // Lower numbers are the job's and the launcher's own, put in place over whatever lay there.
  const stray = options.inherited.filter((fd) => fd > plan.status)
  const [program, ...args] = closingChain(stray, chain)
  const child = spawn(program, args, {
    env: {},
    cwd: '/',
    detached: true, // its own session: Ctrl-C in the worker's terminal must not end jobs the worker wants to drain
    stdio: [...jobFds, 'pipe', seccompFd, 'pipe'],
  })
  const spawnFailed = new Promise<never>((_, reject) => child.once('error', reject))
  spawnFailed.catch(() => {}) // whoever waits for `ended` hears it; without descriptors left (EMFILE) the throw below says it
  const gate = ownEnd(child.stdio?.[plan.args])
  const status = ownEnd(child.stdio?.[plan.status])
  for (const fd of [...jobFds, seccompFd]) if (typeof fd === 'number') closeSync(fd)
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })

  let report = ''
  let init: { pid: number; startTime: string | undefined } | undefined
  let started = false
  let killing = false
  const killAll = (): void => {
    // Process 1 first: its end takes the whole namespace along, even if bubblewrap had not tied it to itself yet.
    if (init !== undefined) killInit(init)
    child.kill('SIGKILL')
  }
  status.on('data', (chunk: Buffer) => {
    report += chunk.toString('latin1')
    if (init !== undefined) return
    const pid = /"child-pid": (\d+)/.exec(report)?.[1]
    if (pid === undefined) return
    init = { pid: Number(pid), startTime: findStartTime(Number(pid)) }
    if (killing) killAll()
  })
  const statusClosed = new Promise<void>((resolve) => status.once('close', () => resolve()))
  // Both carry a few bytes and end with bubblewrap; a reset when it is killed says nothing `exit` does not say.
  gate.on('error', () => {})
  status.on('error', () => {})

  async function end(): Promise<{ exitCode: number | null; signal: string | null; commandRan: boolean }> {
    const { code, signal } = await exited
    gate.destroy()
    await statusClosed
    if (init !== undefined) await requireGone(init)
    return { exitCode: code, signal, commandRan: /"exit-code": \d+/.test(report) }
  }
  return {
    pid: child.pid,
    initPid: () => init?.pid,
    start() {
      started = true
      // One write: a small message to a socket goes whole or not at all, should the worker die right here.
      gate.end(options.bubblewrapOptions.map((option) => `${option}\0`).join(''))
    },
    kill() {
      killing = true
      // Between the gate and the report process 1 may exist without our knowing its pid: then the report triggers it.
      if (!started || init !== undefined) killAll()
    },
    ended: Promise.race([end(), spawnFailed]),
  }
}

function ownEnd(stream: unknown): Socket {
  if (!(stream instanceof Socket)) throw new Error('sandbox: a pipe to the launcher is missing')
  return stream
}

function killInit(init: { pid: number; startTime: string | undefined }): void {
  // The number may belong to somebody else by now: only the very process bubblewrap named is ours.
  if (init.startTime === undefined || findStartTime(init.pid) !== init.startTime || !isNamespaceInit(init.pid)) return
  try {
    process.kill(init.pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Process 1 of a pid namespace is gone only when the kernel has killed and reaped every other process in it. */
async function requireGone(init: { pid: number; startTime: string | undefined }): Promise<void> {
  if (init.startTime === undefined) return
  const deadline = performance.now() + REAP_DEADLINE_MS
  for (let pauseMs = 1; findStartTime(init.pid) === init.startTime; pauseMs = Math.min(pauseMs * 2, 50)) {
    killInit(init)
    if (performance.now() > deadline) throw new ProcessSurvived(`sandbox: process ${init.pid} survived SIGKILL`)
    await wait(pauseMs)
  }
}
