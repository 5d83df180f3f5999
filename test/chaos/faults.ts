import { setTimeout as delay } from 'node:timers/promises'
import { clockRate } from './clocks.ts'
import type { Installation, Timed } from './installation.ts'
import type { Supervised } from './processes.ts'
import { type FaultyProxy, weathers } from './proxy.ts'
import type { Random } from './random.ts'

/** What can be done to a run. */
export interface Scene {
  installation: Installation
  proxy: FaultyProxy
  lightWorkers: readonly Timed[]
  realWorkers: readonly Timed[]
}

/** A trouble and its end. */
interface Fault {
  /** What it is done to, said for the log; undefined when there is nothing here to do it to. */
  begin(scene: Scene, random: Random): Begun | undefined
}
interface Begun {
  what: string
  lastsMs: number
  heal(): void
}

const leaseMs = 30_000 / clockRate
/** Two of three stops are short ones, which must cost nothing; the third outlasts a lease. */
const drawStopMs = (random: Random): number =>
  random.chance(0.33) ? random.between(leaseMs * 1.1, leaseMs * 1.5) : random.between(100, 1000)
const maxJumpMs = 45_000

const killed = (process: Supervised | undefined): Begun | undefined => {
  if (process === undefined) return undefined
  process.kill()
  return { what: process.name, lastsMs: 0, heal() {} }
}
const paused = (process: Supervised | undefined, random: Random): Begun | undefined => {
  const child = process?.child
  if (process === undefined || child === undefined) return undefined
  child.kill('SIGSTOP')
  return { what: process.name, lastsMs: drawStopMs(random), heal: () => void child.kill('SIGCONT') }
}
const jumped = ({ process, clock }: Timed, random: Random): Begun => {
  const byMs = random.between(-maxJumpMs, maxJumpMs)
  clock.setOffset(byMs)
  return { what: `${process.name} by ${byMs} ms`, lastsMs: random.between(300, 2000), heal: () => clock.setOffset(0) }
}
const signaled = (scene: Scene, random: Random, signal: 'SIGKILL' | 'SIGSTOP'): Begun | undefined => {
  const backends = scene.installation.cluster?.backends() ?? []
  if (backends.length === 0) return undefined
  const pid = random.pick(backends)
  send(pid, signal)
  return {
    what: 'one backend',
    lastsMs: signal === 'SIGSTOP' ? drawStopMs(random) : 0,
    heal: () => send(pid, 'SIGCONT'),
  }
}
/** It may have ended meanwhile. */
const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

const faults = {
  'server killed': { begin: ({ installation }, random) => killed(random.pick(installation.servers).process) },
  'workers killed': { begin: ({ lightWorkers }, random) => killed(random.pick(lightWorkers).process) },
  'sandboxing worker killed': { begin: ({ realWorkers }, random) => killed(random.pick(realWorkers).process) },
  'database killed': { begin: ({ installation }) => killed(installation.cluster?.server) },
  'backend killed': { begin: (scene, random) => signaled(scene, random, 'SIGKILL') },
  'server stopped': { begin: ({ installation }, random) => paused(random.pick(installation.servers).process, random) },
  'workers stopped': { begin: ({ lightWorkers }, random) => paused(random.pick(lightWorkers).process, random) },
  'sandboxing worker stopped': { begin: ({ realWorkers }, random) => paused(random.pick(realWorkers).process, random) },
  'database stopped': { begin: ({ installation }, random) => paused(installation.cluster?.server, random) },
  'backend stopped': { begin: (scene, random) => signaled(scene, random, 'SIGSTOP') },
  'disk full': {
    begin({ installation: { disk } }, random) {
      if (disk.fill === undefined) return undefined
      disk.fill()
      return { what: 'the disk', lastsMs: random.between(300, 1500), heal: disk.free }
    },
  },
  'clock of a server jumps': { begin: ({ installation }, random) => jumped(random.pick(installation.servers), random) },
  'clock of workers jumps': { begin: ({ lightWorkers }, random) => jumped(random.pick(lightWorkers), random) },
  'network storm': {
    begin({ proxy }, random) {
      proxy.setWeather(weathers.storm)
      return { what: 'the proxy', lastsMs: random.between(500, 2000), heal: () => proxy.setWeather(weathers.usual) }
    },
  },
} as const satisfies Record<string, Fault>
export type FaultName = keyof typeof faults
export const faultNames = Object.keys(faults) as FaultName[]

export interface Struck {
  atMs: number
  fault: FaultName
  what: string
  lastsMs: number
}

/**
 * Strikes for so long, one fault about every `everyMs`, in an order dealt from the seed: each kind comes up once before any comes up again. Faults overlap.
 * When it resolves all are over, though not yet recovered from.
 */
export async function strike(
  scene: Scene,
  { forMs, everyMs, random }: { forMs: number; everyMs: number; random: Random },
  onStruck: (struck: Struck) => void,
): Promise<void> {
  const startedAt = performance.now()
  const elapsed = (): number => performance.now() - startedAt
  const healing: Promise<void>[] = []
  let deck: FaultName[] = []
  while (elapsed() < forMs) {
    if (deck.length === 0) deck = random.shuffle(faultNames)
    const fault = deck.pop() ?? 'server killed'
    // Its draws are its own: what a fault finds to be done to changes no later one.
    const own = random.fork(`${deck.length} ${random.fraction()}`)
    const begun = (faults[fault] as Fault).begin(scene, own)
    if (begun === undefined) continue
    const { what, heal } = begun
    const lastsMs = Math.min(begun.lastsMs, Math.max(0, forMs - elapsed()))
    onStruck({ atMs: Math.round(elapsed()), fault, what, lastsMs: Math.round(lastsMs) })
    healing.push(delay(lastsMs).then(heal))
    await delay(random.between(everyMs / 2, everyMs * 1.5))
  }
  await Promise.all(healing)
}
