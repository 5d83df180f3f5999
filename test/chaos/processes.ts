import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

export const root = join(import.meta.dirname, '..', '..')
const restartAfterMs = 100
const endWithinMs = 10_000
const readyWithinMs = 300_000

/** Only what a process of a run needs: nobody's own settings. */
export const plainEnvironment = { PATH: process.env.PATH ?? '/usr/bin:/bin', LANG: 'C.UTF-8' }

export interface Program {
  name: string
  /** The program and its arguments, given which of its lives begins. */
  command(life: number): readonly string[]
  options?: SpawnOptions
  /** Takes standard output and standard error. */
  logFile: string
  /** Whether a line of its output says that it is ready. */
  isReady(line: string): boolean
  onReady?(line: string): void
}

/** A process that is started again whenever it ends, as an operator's service manager does. */
export interface Supervised {
  readonly name: string
  /** The process that runs now, if one does. */
  readonly child: ChildProcess | undefined
  readonly isReady: boolean
  /** Ends that no fault of the run explains: a process must survive whatever happens around it. */
  readonly crashes: readonly string[]
  /** Resolves when it runs and has said so; rejects when it does not come up in five minutes, however often it was started. */
  untilReady(): Promise<void>
  kill(): void
  pause(): void
  resume(): void
  /** Ends it for good. */
  end(): Promise<void>
}

/** Starts a program and keeps it running; it dies with this process. */
export function supervise(program: Program): Supervised {
  let child: ChildProcess | undefined
  let ready = Promise.withResolvers<void>()
  let isReady = false
  let isEnding = false
  let isKilled = false
  const crashes: string[] = []
  let lives = 0

  const onLine = (line: string): void => {
    appendFileSync(program.logFile, `${line}\n`)
    if (isReady || !program.isReady(line)) return
    program.onReady?.(line)
    isReady = true
    ready.resolve()
  }
  const start = (): void => {
    isKilled = false
    const started = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...program.command(lives++)], {
      ...{ cwd: root, stdio: ['ignore', 'pipe', 'pipe'] },
      ...program.options,
    })
    child = started
    for (const stream of [started.stdout, started.stderr])
      if (stream !== null) createInterface({ input: stream }).on('line', onLine)
    started.once('exit', (code, signal) => {
      if (isReady && !isKilled && !isEnding)
        crashes.push(`${program.name} ended by itself (${signal ?? code}): ${tailOf(program.logFile)}`)
      child = undefined
      if (isReady) ready = Promise.withResolvers()
      isReady = false
      if (!isEnding) setTimeout(restart, restartAfterMs)
    })
  }
  const restart = (): void => {
    if (!isEnding) start()
  }
  start()
  return {
    name: program.name,
    get child() {
      return child
    },
    get isReady() {
      return isReady
    },
    crashes,
    async untilReady() {
      const deadline = performance.now() + readyWithinMs
      while (!isReady) {
        if (performance.now() > deadline)
          throw new Error(`${program.name} does not come up: ${tailOf(program.logFile)}`)
        await Promise.race([ready.promise, delay(50)])
      }
    },
    kill() {
      isKilled = true
      child?.kill('SIGKILL')
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async end() {
      isEnding = true
      if (child === undefined) return
      const gone = once(child, 'exit')
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child?.kill('SIGKILL'), endWithinMs)
      await gone
      clearTimeout(timer)
    },
  }
}

export function tailOf(logFile: string): string {
  return existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-1500) : 'it has said nothing'
}
