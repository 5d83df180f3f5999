import { hostname } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { type Environment, thisEnvironment } from './settings.ts'

export interface OutputStream extends Writable {
  isTTY?: boolean
  columns?: number
}
export interface InputStream extends Readable {
  isTTY?: boolean
  setRawMode?(on: boolean): unknown
}

/** All that the command line takes from its surroundings; a test brings its own. */
export interface Machine {
  readonly env: Environment
  readonly stdin: InputStream
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly hostname: string
  readonly fetch: typeof fetch
  now(): number
  random(): number
  newId(): string
  /** Waits; rejects when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
  /** Calls `listener` at each Ctrl-C, which then no longer ends the process, until the returned function is called. */
  onInterrupt(listener: () => void): () => void
  /** How long after a first Ctrl-C a second one still cancels the job. */
  readonly secondInterruptMs: number
}

/** What the sessions of this machine are called in lists. */
export function deviceName({ hostname }: Machine): string {
  return `hivesync on ${hostname}`.replace(/[^\x20-\x7e]/g, '-').slice(0, 100)
}

/** The machine this process runs on. A reader that goes away (`| head`) ends the process quietly. */
export function thisMachine(): Machine {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0)
      throw error
    })
  }
  return {
    env: thisEnvironment(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    hostname: hostname(),
    fetch,
    now: Date.now,
    random: Math.random,
    newId: () => crypto.randomUUID(),
    sleep: (ms, signal) => delay(ms, undefined, { signal }),
    onInterrupt(listener) {
      process.on('SIGINT', listener)
      return () => process.off('SIGINT', listener)
    },
    secondInterruptMs: 2000,
  }
}
