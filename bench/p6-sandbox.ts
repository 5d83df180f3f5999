import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { openSandbox, type SandboxOptions } from '../worker/sandbox/sandbox.ts'
import type { Sandbox, SandboxLimits } from '../worker/sandbox/spec.ts'
import { SandboxUnavailable } from '../worker/sandbox/unavailable.ts'
import { descendantsOf, memoryOf, programOf } from './processes.ts'
import { type BenchOptions, median, medianRatio, type Report, spread, times } from './report.ts'
import { measureRounds } from './rounds.ts'

const usualRounds = 100
const most = 1.5
const mostMegabytes = 10
const settleMs = 60
const mebibyte = 1024 * 1024

const limits: SandboxLimits = {
  wallMs: 30_000,
  cpuSeconds: 10,
  memoryBytes: 256 * mebibyte,
  pids: 64,
  diskBytes: 32 * mebibyte,
  fileBytes: 32 * mebibyte,
  outputBytes: mebibyte,
  archiveBytes: 0,
  openFiles: 256,
}

/** P6: what the sandbox costs beside bubblewrap alone, both spawned from this process. */
export async function measure({ rounds }: BenchOptions): Promise<Report> {
  await using cleanup = new AsyncDisposableStack()
  const open = async (options: Partial<SandboxOptions>): Promise<Sandbox> => {
    const sandbox = await openSandbox({ slots: 1, ...options })
    cleanup.defer(sandbox.close)
    return sandbox
  }
  let sandbox: Sandbox
  let unparked: Sandbox
  let ungrouped: Sandbox
  try {
    sandbox = await open({})
    unparked = await open({ parked: 0 })
    ungrouped = await open({ cgroupParent: {} })
  } catch (error) {
    if (!(error instanceof SandboxUnavailable)) throw error
    return unavailable(error.reason)
  }
  const samples = await measureRounds(rounds ?? usualRounds, {
    plain: () => timed(() => spawnTrue('true', [])),
    bare: () => timed(() => spawnTrue('bwrap', ['--unshare-all', '--ro-bind', '/', '/', 'true'])),
    sandbox: () => timed(() => runTrue(sandbox)),
    unparked: () => timed(() => runTrue(unparked)),
    ungrouped: () => timed(() => runTrue(ungrouped)),
  })
  return report(samples, await measureMemory(sandbox), sandbox.layers)
}

/** After each sample a pause, alike for all: what a sandbox prepares for its next job must not run beside another's sample. */
async function timed(act: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await act()
  const elapsedMs = performance.now() - startedAt
  await wait(settleMs)
  return elapsedMs
}

async function spawnTrue(program: string, args: readonly string[]): Promise<void> {
  const [code] = await once(spawn(program, args, { stdio: 'ignore' }), 'exit')
  if (code !== 0) throw new Error(`${program} ended with ${code}`)
}

async function runTrue(sandbox: Sandbox): Promise<void> {
  const { exitCode, receipt } = await sandbox.run({ command: ['/bin/true'], limits })
  if (exitCode !== 0) throw new Error(`true ended with ${exitCode} in the sandbox: ${JSON.stringify(receipt)}`)
}

interface Helpers {
  programs: string[]
  rss: number
  pss: number
}

/** Memory of everything that runs for a job beside its own program, while the job waits. */
async function measureMemory(sandbox: Sandbox): Promise<Helpers> {
  const running = Promise.withResolvers<void>()
  const finish = new AbortController()
  const job = sandbox.run({
    command: ['/bin/sh', '-c', 'echo running; exec sleep 20'],
    limits,
    onOutput: () => running.resolve(),
    signal: finish.signal,
  })
  await Promise.race([running.promise, job])
  try {
    const helpers = descendantsOf(process.pid).filter((pid) => !['sleep', 'sh'].includes(programOf(pid)))
    const memory = helpers.map(memoryOf)
    return {
      programs: helpers.map(programOf),
      rss: memory.reduce((sum, { rss }) => sum + rss, 0),
      pss: memory.reduce((sum, { pss }) => sum + pss, 0),
    }
  } finally {
    finish.abort()
    await job
  }
}

function report(
  samples: Record<'plain' | 'bare' | 'sandbox' | 'unparked' | 'ungrouped', number[]>,
  memory: Helpers,
  layers: readonly string[],
): Report {
  const ms = (value: number): string => value.toFixed(1)
  const row = (label: string, own: number[]): string[] => [
    label,
    ms(median(own)),
    spread(own, ms),
    times(medianRatio(own, samples.bare)),
  ]
  const ratio = medianRatio(samples.sandbox, samples.bare)
  return {
    title: 'P6 · one sandboxed `true`',
    head: ['', 'ms', 'least–most', 'of bare bwrap'],
    rows: [
      row('true, spawned', samples.plain),
      row('bwrap --unshare-all true', samples.bare),
      row('the sandbox, its launcher waiting', samples.sandbox),
      row('the sandbox, no launcher waiting (jobs in a burst)', samples.unparked),
      row('the sandbox, a watchdog instead of control groups', samples.ungrouped),
    ],
    verdicts: [
      {
        claim: 'P6',
        text: `${times(ratio)} the time of bare bwrap (at most ${times(most)})`,
        holds: ratio <= most,
      },
      {
        claim: 'P6',
        text: `${memory.rss.toFixed(1)} MB resident beside the program (at most ${mostMegabytes}), ${memory.pss.toFixed(1)} with shared pages divided; ${memory.programs.join(' and ')}`,
        holds: memory.rss <= mostMegabytes,
      },
    ],
    notes: [`${samples.bare.length} rounds, medians. Layers here: ${layers.join(', ')}.`],
  }
}

function unavailable(reason: string): Report {
  const holds = null
  return {
    title: 'P6 · one sandboxed `true`',
    head: [''],
    rows: [],
    verdicts: [{ claim: 'P6', text: reason, holds }],
    notes: [],
  }
}
