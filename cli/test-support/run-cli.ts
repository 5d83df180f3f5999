import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { InputStream, Machine, OutputStream } from '../machine.ts'
import { main } from '../main.ts'
import type { Profile } from '../profile.ts'

export const nowMs = Date.parse('2026-01-02T04:00:00.000Z')

export interface CliRun {
  code: number
  stdout: string
  stderr: string
}

export interface CliOptions {
  env?: Record<string, string>
  /** What is typed or piped in. A function is called with standard error so far, whenever it grows: it answers prompts. */
  stdin?: string | ((stderr: string) => string | undefined)
  /** Which streams are terminals. */
  tty?: { stdin?: boolean; stdout?: boolean; stderr?: boolean }
  /** Receives the means to press Ctrl-C. */
  onStart?: (interrupt: () => void) => void
  secondInterruptMs?: number
  fetch?: typeof fetch
  now?: () => number
  /** What happens in each wait; without it time stands still. */
  onSleep?: (ms: number) => void | Promise<void>
}

/** A home of its own for the command line under test. */
export interface CliHome extends AsyncDisposable {
  readonly path: string
  run(argv: readonly string[], options?: CliOptions): Promise<CliRun>
  writeProfile(profile: Profile, name?: string): Promise<string>
}

export async function makeCliHome(): Promise<CliHome> {
  const path = await mkdtemp(join(tmpdir(), 'hivesync-cli-'))
  return {
    path,
    run: (argv, options = {}) => runCli(path, argv, options),
    async writeProfile(profile, name = 'default') {
      const file = join(path, `${name}.json`)
      await writeFile(file, JSON.stringify({ version: 1, ...profile }), { mode: 0o600 })
      return file
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

async function runCli(home: string, argv: readonly string[], options: CliOptions): Promise<CliRun> {
  const stdout = captureOutput(options.tty?.stdout === true)
  const stderr = captureOutput(options.tty?.stderr === true)
  const listeners = new Set<() => void>()
  const stdin: InputStream = Object.assign(new PassThrough(), {
    isTTY: options.tty?.stdin === true,
    setRawMode: () => stdin,
  })
  if (typeof options.stdin === 'string') stdin.push(options.stdin)
  if (typeof options.stdin !== 'function') stdin.push(null)
  else {
    const answer = options.stdin
    stderr.stream.on('data', () => {
      const typed = answer(stderr.text())
      if (typed !== undefined) stdin.push(typed)
    })
  }
  const machine: Machine = {
    env: { HIVESYNC_CLI_HOME: home, ...options.env },
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    hostname: 'test',
    fetch: options.fetch ?? fetch,
    now: options.now ?? (() => nowMs),
    random: () => 0,
    newId: () => 'key-1',
    async sleep(ms, signal) {
      await options.onSleep?.(ms)
      await setImmediate()
      signal.throwIfAborted()
    },
    onInterrupt(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    secondInterruptMs: options.secondInterruptMs ?? 10,
  }
  options.onStart?.(() => {
    for (const listener of listeners) listener()
  })
  const code = await main(argv, [], machine)
  return { code, stdout: stdout.text(), stderr: stderr.text() }
}

function captureOutput(isTTY: boolean): { stream: OutputStream & PassThrough; text: () => string } {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 100 })
  const chunks: string[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk.toString()))
  return { stream, text: () => chunks.join('') }
}
