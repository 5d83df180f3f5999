import { statSync } from 'node:fs'
import { requireSafeSpec, writablePlaces } from './bubblewrap.ts'
import { type JobCgroup, makeJobCgroup } from './cgroups.ts'
import { type LaunchedJob, ProcessSurvived } from './launch.ts'
import { taskLimit } from './launch-chain.ts'
import { launchJob, type Pipes } from './launch-job.ts'
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
  const { spec } = run
  requireSafeSpec(spec)
  if (spec.limits.wallMs > MAX_WALL_MS) throw new RangeError(`sandbox: wallMs is more than ${MAX_WALL_MS}`)
  if (spec.egressSocket !== undefined) requireSocket(spec.egressSocket)
  const takeBacks: (() => Promise<void>)[] = []
  try {
    for (const path of lentPaths(spec)) {
      if (run.slotUid !== undefined) takeBacks.push(await lend(machine.tools.chown, path, run.slotUid))
    }
    return await runWithLimits(machine, run)
  } finally {
    for (const takeBack of takeBacks) await takeBack()
  }
}

/** What only the job's own user may touch while it runs. */
function lentPaths({ mounts = [], egressSocket }: SandboxSpec): string[] {
  const lent = mounts.filter((mount) => mount.lent === true).map((mount) => mount.from)
  return egressSocket === undefined ? lent : [...lent, egressSocket]
}

async function runWithLimits(machine: Machine, run: SlotRun): Promise<SandboxResult> {
  const { spec } = run
  const signals = [run.closing, ...(spec.signal === undefined ? [] : [spec.signal])]
  if (signals.some((signal) => signal.aborted)) return canceledBeforeStart(machine)

  const withForwarder = spec.egressSocket !== undefined
  const tasks = taskLimit(spec.limits, withForwarder)
  const cgroup = makeJobCgroup(machine.cgroups, `slot-${run.slot}-${nextJob()}`, {
    memoryBytes: spec.limits.memoryBytes,
    tasks,
  })
  try {
    return await superviseJob(machine, run, tasks, cgroup, signals)
  } catch (error) {
    if (error instanceof ProcessSurvived) run.onUnusable()
    throw error
  } finally {
    const removal: Promise<void> = cgroup
      .remove()
      .catch(() => {}) // closing tries again and reports what is still held
      .then(() => void machine.trash.delete(removal))
    machine.trash.add(removal)
  }
}

let jobs = 0
const nextJob = (): number => {
  jobs += 1
  return jobs
}

async function superviseJob(
  machine: Machine,
  run: SlotRun,
  tasks: number,
  cgroup: JobCgroup,
  signals: readonly AbortSignal[],
): Promise<SandboxResult> {
  const { limits } = run.spec
  const { pipes, job } = launchJob(machine, run, tasks)
  let killed: KillReason | null = null
  let failure: { error: unknown } | undefined
  const kill = (reason: KillReason): void => {
    killed ??= reason
    job.kill()
  }
  const fail = (error: unknown): void => {
    failure ??= { error }
    job.kill()
  }
  const onAbort = (): void => kill('canceled')
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  const flow = startFlow(run.spec, pipes, kill, fail)
  const startedAt = performance.now()
  const timer = setTimeout(() => kill('wall'), limits.wallMs)
  let watching: Watch | undefined
  try {
    if ((await attachTo(cgroup, job, fail)) && killed === null && failure === undefined) {
      watching = watch({
        pid: job.pid ?? 0,
        initPid: job.initPid,
        places: writablePlaces(limits.diskBytes),
        cgroup,
        held: machine.held,
        limits: { memoryBytes: limits.memoryBytes, tasks, cpuSeconds: limits.cpuSeconds },
        onExcess: kill,
        onFailure: fail,
      })
      job.start()
    }
    const ended = await job.ended
    const { outputBytes, archiveBytes, complaint } = await flow.ended()
    const wallMs = Math.round(performance.now() - startedAt)
    const { oomKilled, ...used } = watching?.stop() ?? { cpuMs: null, peakMemoryBytes: null, oomKilled: false }
    if (failure !== undefined) throw failure.error
    const cpuReached = (used.cpuMs ?? 0) >= limits.cpuSeconds * 1000 - CPU_SAMPLE_SLACK_MS
    if (oomKilled) killed ??= 'memory'
    if (cpuReached && CPU_EXITS.includes(ended.exitCode)) killed ??= 'cpu'
    if (killed === null && ended.signal === null && !ended.commandRan) throw new LaunchRefused(complaint, run.slotUid)
    const own =
      killed === null ? { exitCode: ended.exitCode, signal: ended.signal } : { exitCode: null, signal: 'SIGKILL' }
    return { ...own, receipt: { layers: [...machine.layers], wallMs, ...used, outputBytes, archiveBytes, killed } }
  } finally {
    watching?.stop()
    clearTimeout(timer)
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
    for (const pipe of Object.values(pipes)) pipe.stream.destroy()
  }
}

/** Whether the waiting launcher is in its groups now; false when it has already ended, which `job.ended` explains. */
async function attachTo(cgroup: JobCgroup, job: LaunchedJob, fail: (error: unknown) => void): Promise<boolean> {
  if (job.pid === undefined) return false
  try {
    await cgroup.attach(job.pid)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') job.kill()
    else fail(error)
    return false
  }
}

/** Lets bytes flow between the job and its caller, counted and capped; `ended` resolves once every pipe has run dry. */
function startFlow(
  spec: SandboxSpec,
  pipes: Pipes,
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
  if (pipes.archive !== undefined) {
    const onChunk = (chunk: Buffer): void => spec.onArchive?.(chunk)
    drained.push(pump(pipes.archive.stream, archive, archiveBytes, onChunk, () => kill('archive')))
  }
  const settled = Promise.all(drained.map((stream) => stream.catch(fail)))
  const stdin = pipes.stdin?.stream
  // A job may end, or close its stdin, before it has read everything.
  stdin?.on('error', (error) => ('code' in error && error.code === 'EPIPE' ? undefined : fail(error)))
  if (spec.stdin !== undefined) stdin?.end(spec.stdin)
  return {
    async ended() {
      stdin?.destroy()
      await settled
      return {
        outputBytes: Math.min(output.bytes, outputBytes),
        archiveBytes: Math.min(archive.bytes, archiveBytes),
        complaint,
      }
    },
  }
}

function canceledBeforeStart(machine: Machine): SandboxResult {
  const nothing = { wallMs: 0, cpuMs: 0, peakMemoryBytes: 0, outputBytes: 0, archiveBytes: 0 }
  return { exitCode: null, signal: null, receipt: { layers: [...machine.layers], ...nothing, killed: 'canceled' } }
}

function requireSocket(path: string): void {
  if (!statSync(path).isSocket()) throw new RangeError(`sandbox: ${path} is not a unix socket`)
}
