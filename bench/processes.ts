import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const root = join(import.meta.dirname, '..')

/** Ticks per second in /proc/<pid>/stat: USER_HZ, 100 on every Linux that Node runs on (man 5 proc_pid_stat). */
const ticksPerSecond = 100
const stopWithinMs = 15_000

/** CPU time of all threads of a process so far, in milliseconds, in steps of 10. */
export function cpuMsOf(pid: number): number {
  const fields = statOf(pid)
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond
}

/** /proc/<pid>/stat from the state on: the name before it may hold anything. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Resident memory in MB: `rss` counts shared pages whole, `pss` divides them among the processes that share them. */
export function memoryOf(pid: number): { rss: number; pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
  const megabytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024
  return { rss: megabytes('Rss'), pss: megabytes('Pss') }
}

/** Every process below one, children first. */
export function descendantsOf(pid: number): number[] {
  const parents = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = Number(statOf(Number(name))[1])
      parents.set(parent, [...(parents.get(parent) ?? []), Number(name)])
    } catch {
      // It ended while the list was read.
    }
  }
  const below = (of: number): number[] => (parents.get(of) ?? []).flatMap((child) => [child, ...below(child)])
  return below(pid)
}

/** The program of a process, without its folder. */
export function programOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
}

/** Only what a process of ours needs: the settings of whoever runs the bench would change what is measured. */
export const plainEnvironment = { PATH: process.env.PATH ?? '/usr/bin:/bin', LANG: 'C.UTF-8' }

export interface Started {
  child: ChildProcess
  pid: number
  /** The first line of JSON on standard output whose `event` is the awaited one. */
  line: Record<string, unknown>
  elapsedMs: number
}

/** Starts a Node script and waits for its JSON line; throws when it ends before. Standard output is read on and thrown away. */
export async function startNode(args: readonly string[], event: string, options: SpawnOptions): Promise<Started> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, args, { cwd: root, ...options })
  const { pid, stdout } = child
  if (pid === undefined || stdout === null) throw new Error(`cannot start ${args.join(' ')}`)
  const found = Promise.withResolvers<Record<string, unknown>>()
  child.once('exit', (code) => found.reject(new Error(`${args.join(' ')} ended with ${code} before it was ready`)))
  createInterface({ input: stdout }).on('line', (text) => {
    if (!text.includes(`"${event}"`)) return
    const line = JSON.parse(text) as Record<string, unknown>
    if (line.event === event) found.resolve(line)
  })
  try {
    const line = await found.promise
    return { child, pid, line, elapsedMs: performance.now() - startedAt }
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
}

/** Sends a process of ours a message and waits for the next one from it; throws when it ends instead. One question at a time. */
export async function ask<Answer>(child: ChildProcess, question: object): Promise<Answer> {
  const answered = Promise.withResolvers<Answer>()
  const onMessage = (message: unknown): void => answered.resolve(message as Answer)
  const onExit = (code: number | null): void =>
    answered.reject(new Error(`the process ended with ${code} instead of an answer`))
  child.once('message', onMessage).once('exit', onExit)
  try {
    child.send(question)
    return await answered.promise
  } finally {
    child.off('message', onMessage).off('exit', onExit)
  }
}

/** Ends a process of ours by SIGTERM, or SIGKILL when it takes too long; resolves when it is gone. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
  await gone
  clearTimeout(timer)
}
