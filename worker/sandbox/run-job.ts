import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { requireSafeSpec, writablePlaces } from './bubblewrap.ts'
import { ProcessSurvived } from './launch.ts'
import { taskLimit } from './launch-chain.ts'
import { begin, discard, type Launcher, type LauncherNeeds, launcherNeeds, release } from './launcher.ts'
import { lend } from './lend.ts'
import type { Machine, SlotRun } from './machine.ts'
import { type Meter, pump } from './output.ts'
import type { KillReason, SandboxResult, SandboxSpec } from './spec.ts'
import { type Watch, watch } from './watchdog.ts'

/** The launch chain gave up before the command ran; `complaint` is what its program printed. */
export class LaunchRefused extends Error {
  readonly complaint: string

  constructor(complaint: string, slotUid?: number) {
    const hint =
      slotUid === undefined || !complaint.includes('Permission denied')
        ? ''
        : ` (jobs of this slot run as uid ${slotUid}: every folder above a mount must be passable for others, chmod o+x, and its content readable, chmod -R o+rX)`
    super(`sandbox: the job could not be started: ${complaint.trim() || 'no reason given'}${hint}`)
    this.complaint = complaint
  }
}

/** 128 + SIGXCPU, 128 + SIGKILL: how a command ends that ran into RLIMIT_CPU, soft or hard. */
const CPU_EXITS: readonly (number | null)[] = [152, 137]
/** Samples lag behind by one look and stat counts whole ticks. */
const CPU_SAMPLE_SLACK_MS = 200
const COMPLAINT_BYTES = 2048
/** setTimeout takes 32 bits; more would fire at once. */
const MAX_WALL_MS = 2 ** 31 - 1

/** Runs one job in a slot of its own; see `Sandbox.run` for what holds afterwards. */
export async function runInSlot(machine: Machine, run: SlotRun): Promise<SandboxResult> {
  const { slot } = run
  requireSafeSpec(run.spec)
  const spec = withinGpuTime(machine, run.spec)
  const needs = launcherNeeds(machine, spec)
  const slotUid = machine.slotUid(slot)
  if (spec.limits.wallMs > MAX_WALL_MS) throw new RangeError(`sandbox: wallMs is more than ${MAX_WALL_MS}`)
  if (spec.egressSocket !== undefined) requireSocket(spec.egressSocket)
  const takeBacks: (() => Promise<void>)[] = []
  try {
    for (const path of lentPaths(spec)) {
      if (slotUid !== undefined) takeBacks.push(await lend(machine.tools.chown, path, slotUid))
    }
    return await runWithLimits(machine, { ...run, spec }, needs)
  } finally {
    for (const takeBack of takeBacks) await takeBack()
  }
}

function withinGpuTime({ gpuMaxMs }: Machine, spec: SandboxSpec): SandboxSpec {
  if (spec.gpu !== true || spec.limits.wallMs <= gpuMaxMs) return spec
  return { ...spec, limits: { ...spec.limits, wallMs: gpuMaxMs } }
}

/** What only the job's own user may touch while it runs. */
function lentPaths({ mounts = [], egressSocket }: SandboxSpec): string[] {
  const lent = mounts.filter((mount) => mount.lent === true).map((mount) => mount.from)
  return egressSocket === undefined ? lent : [...lent, egressSocket]
}

async function runWithLimits(machine: Machine, run: SlotRun, needs: LauncherNeeds): Promise<SandboxResult> {
  const { spec } = run
  const signals = [run.closing, ...(spec.signal === undefined ? [] : [spec.signal])]
  const isAborted = (): boolean => signals.some((signal) => signal.aborted)
  if (isAborted()) return canceledBeforeStart(machine, spec)
  const launcher = await run.takeLauncher(needs)
  try {
    if (isAborted()) {
      await discard(machine, launcher)
      return canceledBeforeStart(machine, spec)
    }
    return await superviseJob(machine, run, launcher, signals)
  } catch (error) {
    if (error instanceof ProcessSurvived) run.onUnusable()
    throw error
  }
}

async function superviseJob(
  machine: Machine,
  run: SlotRun,
  launcher: Launcher,
  signals: readonly AbortSignal[],
): Promise<SandboxResult> {
  const { spec } = run
  const { limits } = spec
  const { job, cgroup } = launcher
  let killed: KillReason | null = null
  let failure: { error: unknown } | undefined
  const end = (): void => {
    job.kill()
    cgroup.kill()
  }
  const kill = (reason: KillReason): void => {
    killed ??= reason
    end()
  }
  const fail = (error: unknown): void => {
    failure ??= { error }
    end()
  }
  const onAbort = (): void => kill('canceled')
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  const startedAt = performance.now()
  const timer = setTimeout(() => kill('wall'), limits.wallMs)
  const flow = startFlow(spec, launcher.pipes, kill, fail)
  let watching: Watch | undefined
  try {
    try {
      const tasks = taskLimit(limits, spec.egressSocket !== undefined)
      begin(machine, launcher, spec, tasks)
      watching = watch({
        pid: job.pid ?? 0,
        initPid: job.initPid,
        places: writablePlaces(limits.diskBytes),
        cgroup,
        held: machine.cgroups.held,
        limits: { memoryBytes: limits.memoryBytes, tasks, cpuSeconds: limits.cpuSeconds },
        onExcess: kill,
        onFailure: fail,
      })
    } catch (error) {
      fail(error) // a limit that did not take: the launcher still waits and ends without having run anything
    }
    const ended = await job.ended
    const { outputBytes, archiveBytes, complaint } = await flow.ended()
    const wallMs = Math.round(performance.now() - startedAt)
    const { oomKilled, ...used } = watching?.stop() ?? { ...NOTHING_USED, oomKilled: false }
    if (failure !== undefined) throw failure.error
    const cpuReached = (used.cpuMs ?? 0) >= limits.cpuSeconds * 1000 - CPU_SAMPLE_SLACK_MS
    if (oomKilled) killed ??= 'memory'
    if (cpuReached && CPU_EXITS.includes(ended.exitCode)) killed ??= 'cpu'
    // Without a process 1 nothing of the job ran, whatever ended its launcher: no result of the job's.
    if (killed === null && !ended.commandRan && (ended.signal === null || job.initPid() === undefined)) {
      throw new LaunchRefused(complaint, machine.slotUid(run.slot))
    }
    const own =
      killed === null ? { exitCode: ended.exitCode, signal: ended.signal } : { exitCode: null, signal: 'SIGKILL' }
    return { ...own, receipt: { ...receiptHead(machine, spec), wallMs, ...used, outputBytes, archiveBytes, killed } }
  } finally {
    watching?.stop()
    clearTimeout(timer)
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
    release(machine, launcher)
  }
}

/** Lets bytes flow between the job and its caller, counted and capped; `ended` resolves once every pipe has run dry. */
function startFlow(
  spec: SandboxSpec,
  pipes: Launcher['pipes'],
  kill: (reason: KillReason) => void,
  fail: (error: unknown) => void,
): { ended(): Promise<{ outputBytes: number; archiveBytes: number; complaint: string }> } {
  const { outputBytes, archiveBytes } = spec.limits
  const output: Meter = { bytes: 0 }
  const archive: Meter = { bytes: 0 }
  let complaint = ''
  const onOutput = (name: 'stdout' | 'stderr') => (chunk: Buffer) => {
    if (name === 'stderr' && complaint.length < COMPLAINT_BYTES) complaint += chunk.toString('utf8', 0, COMPLAINT_BYTES)
    spec.onOutput?.(name, chunk)
  }
  const onFull = (): void => kill('output')
  const drained = [
    pump(pipes.stdout.stream, output, outputBytes, onOutput('stdout'), onFull),
    pump(pipes.stderr.stream, output, outputBytes, onOutput('stderr'), onFull),
  ]
  if (archiveBytes > 0) {
    const onChunk = (chunk: Buffer): void => spec.onArchive?.(chunk)
    drained.push(pump(pipes.archive.stream, archive, archiveBytes, onChunk, () => kill('archive')))
  } else pipes.archive.stream.destroy()
  const settled = Promise.all(drained.map((stream) => stream.catch(fail)))
  feed(spec.stdin, pipes.stdin.stream).catch(fail)
  return {
    async ended() {
      pipes.stdin.stream.destroy()
      await settled // not for the source of stdin, which may never say another word
      return {
        outputBytes: Math.min(output.bytes, outputBytes),
        archiveBytes: Math.min(archive.bytes, archiveBytes),
        complaint,
      }
    },
  }
}

/**
 * Writes stdin as fast as the job reads it. A job may end, or close its stdin, before it has read everything: that is no
 * error, and the rest is never asked for. What the source itself throws is one.
 */
async function feed(stdin: SandboxSpec['stdin'], stream: Socket): Promise<void> {
  if (stdin === undefined) {
    stream.destroy()
    return
  }
  const source = stdin instanceof Uint8Array ? Readable.from([stdin]) : Readable.from(stdin, { objectMode: false })
  try {
    await pipeline(source, stream)
  } catch (error) {
    // ECANCELED is a write that was under way when this process closed the pipe (once in 60 runs of a busy machine).
    const closed = ['EPIPE', 'ECANCELED', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED']
    if (!(error instanceof Error && 'code' in error && closed.includes(String(error.code)))) throw error
  }
}

const NOTHING_USED = { cpuMs: null, peakMemoryBytes: null, peakPids: null }

const receiptHead = (machine: Machine, { limits }: SandboxSpec) => ({
  layers: [...machine.layers],
  limits: { ...limits },
})

function canceledBeforeStart(machine: Machine, spec: SandboxSpec): SandboxResult {
  const nothing = { wallMs: 0, cpuMs: 0, peakMemoryBytes: 0, peakPids: 0, outputBytes: 0, archiveBytes: 0 }
  return { exitCode: null, signal: null, receipt: { ...receiptHead(machine, spec), ...nothing, killed: 'canceled' } }
}

function requireSocket(path: string): void {
  if (!statSync(path).isSocket()) throw new RangeError(`sandbox: ${path} is not a unix socket`)
}
