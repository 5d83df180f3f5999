import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { bubblewrapOptions } from './bubblewrap.ts'
import { closingChain, findInheritedDescriptors } from './inherited.ts'
import { FD, launchChain, launchScript, limitedCommand, taskLimit } from './launch-chain.ts'
import { openPipe } from './pipes.ts'
import { requireTools } from './prerequisites.ts'
import type { SandboxSpec } from './spec.ts'
import { makeState, type SandboxState } from './state.ts'
import { LIMITS } from './testing.ts'

// For tests only: a launch as the sandbox makes it, out of the same lists, of which a test leaves one layer out. It stands
// under no watchdog, and under control groups only where a test puts it into some.

const tools = requireTools()

/** Everything a launch is made of, as data. */
export interface Layers {
  chain: string[]
  /** The command inside, under its rlimits. */
  command: string[]
  options: string[]
  env: Record<string, string>
}

export const openState = (): SandboxState => makeState({ tools, slots: 1, arch: process.arch })

export function layersOf(state: SandboxState, spec: Omit<SandboxSpec, 'limits'>): Layers {
  const slotUid = process.getuid?.() === 0 ? 61_050 : undefined
  return {
    chain: launchChain({ tools, slotUid, groups: [] }),
    command: limitedCommand(tools.prlimit, LIMITS, taskLimit(LIMITS, false), spec.command),
    options: bubblewrapOptions({ spec: { ...spec, limits: LIMITS }, descriptors: FD, etc: state.etc, gpus: [] }),
    env: {},
  }
}

export function spawnLayers(
  state: SandboxState,
  layers: Layers,
  script?: string,
  attach?: (pid: number) => Promise<void>,
): ChildProcess {
  // Closing what this process would hand on also empties the environment, which some tests are about.
  const stray = Object.keys(layers.env).length === 0 ? findInheritedDescriptors() : []
  const [first = '', ...rest] = layers.chain
  const [program, ...args] = closingChain(
    stray.filter((fd) => fd >= FD.secrets),
    [first, ...rest],
  )
  const pipe = openPipe(state.pipes, 0, 'script')
  const seccomp = openSync(state.seccomp, 'r')
  const child = spawn(program, args, {
    env: layers.env,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe', 'ignore', pipe.jobFd, 'pipe', seccomp, 'pipe'],
  })
  for (const fd of [pipe.jobFd, seccomp]) closeSync(fd)
  const descriptors: readonly (Readable | Writable | null | undefined)[] = child.stdio
  const gate = descriptors[FD.args]
  if (gate === null || gate === undefined || !('end' in gate)) throw new Error('no pipe for the options')
  gate.on('error', () => {}) // a launcher that never reads them says why itself
  gate.end(layers.options.map((option) => `${option}\0`).join(''))
  const told = launchScript({ bwrap: tools.bwrap, withStdin: false, withArchive: false, command: layers.command })
  pipe.stream.on('error', () => {})
  const tell = (): boolean => pipe.stream.write(script ?? told)
  if (attach === undefined) tell()
  else void attach(child.pid ?? 0).then(tell, (error) => child.emit('error', error))
  child.once('exit', () => pipe.stream.destroy())
  return child
}

/** Runs it to its end and answers what it printed, stderr included; `attach` gets the launcher's pid before the job begins. */
export async function runLayers(
  state: SandboxState,
  layers: Layers,
  options: { script?: string; attach?: (pid: number) => Promise<void> } = {},
): Promise<string> {
  const child = spawnLayers(state, layers, options.script, options.attach)
  let output = ''
  child.stdout?.on('data', (chunk) => (output += chunk))
  child.stderr?.on('data', (chunk) => (output += chunk))
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject))
  return output.trim()
}

/** The list without every occurrence of an option and the values that follow it; one that was never there is an error. */
export function without(list: readonly string[], name: string, values: number): string[] {
  const kept: string[] = []
  for (let at = 0; at < list.length; at += 1) {
    if (list[at] === name) at += values
    else kept.push(String(list[at]))
  }
  if (kept.length === list.length) throw new Error(`${name} was never there`)
  return kept
}

/** The options with one namespace shared that `--unshare-all` would separate. */
export function sharing(options: readonly string[], namespace: 'net' | 'pid' | 'ipc' | 'uts' | 'cgroup'): string[] {
  const others = ['net', 'pid', 'ipc', 'uts', 'cgroup'].filter((name) => name !== namespace)
  return [...others.map((name) => `--unshare-${name}`), ...without(options, '--unshare-all', 0)]
}

/** Whether the process a namespaced program of this pid is still there, a zombie not counted. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false // gone
  }
}
