import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Digest } from '../enrol/random.ts'
import type { EgressDecision } from '../fetch/egress-proxy.ts'
import type { JobLog } from '../report/job-log.ts'
import type { Completion } from '../report/outbox.ts'
import { GpuUnavailable } from '../sandbox/gpu.ts'
import type { SandboxReceipt, SandboxResult } from '../sandbox/spec.ts'
import { type ComputeJob, InputInvalid, readComputeJob } from './compute-input.ts'
import { computeLimits } from './compute-limits.ts'
import { type InputPart, packInput } from './input-archive.ts'
import { type InstallNetwork, installPackages } from './install.ts'
import { InstallRefused } from './lockfile.ts'
import type { NodeMount } from './node-mount.ts'
import type { Npm } from './npm.ts'
import { createOutputReader, type OutputManifest, type SpooledFile } from './output-archive.ts'
import type { RunRecord } from './run-record.ts'

/**
 * What runs inside: unpack the files from stdin (if there are any), run the command without stdin and without the archive's
 * descriptor, then hand over /job/out. Absolute paths, because the job may set PATH.
 */
const script = `
if [ "$1" = files ]; then
  /bin/tar -xf - -C /job --no-same-owner || { echo "hivesync: the input files could not be written" >&2; exit 125; }
fi
shift
"$@" </dev/null 3>&-
code=$?
if [ -d /job/out ]; then /bin/tar -cf - -C /job/out . >&3; fi
exit $code
`

export type ComputePhase = 'fetch' | 'install' | 'run'

export interface ComputeOptions {
  claim: Claim
  record: RunRecord
  nodeMount: NodeMount | undefined
  findNpm: () => Npm | undefined
  network: InstallNetwork
  jobLog: JobLog
  createDigest: () => Digest
  /** Brings the job's bundle into the folder, checked, and answers where it lies. */
  fetchBundle: (bundle: NonNullable<Claim['bundle']>, folder: string) => Promise<string>
  /** A closed folder for what the job needs while it runs, and one for what it leaves behind; the caller removes both. */
  folder: string
  outputFolder: string
  onPhase: (phase: ComputePhase) => void
  onEgress: (decision: EgressDecision) => void
  signal: AbortSignal
}

export interface ComputeEnd {
  completion: Completion
  /** Of `outputFolder`, to be handed to the server with the completion. */
  outputs: SpooledFile[]
}

/**
 * Runs a compute job in the sandbox, install first where it asks for one, and answers how it ended and which files it left in /job/out.
 * Rejects only when the machine itself fails, or with the signal's reason.
 */
export async function runCompute(options: ComputeOptions): Promise<ComputeEnd> {
  try {
    const job = readComputeJob(options.claim)
    const parts = await prepare(options, job)
    return 'killed' in parts ? endedInstall(options, parts.killed) : await runCommand(options, job, parts.parts)
  } catch (error) {
    if (error instanceof InputInvalid) return failed('invalid_input', error.message)
    if (error instanceof InstallRefused) {
      options.jobLog.note(error.message)
      // Another worker may have what this one lacks.
      return failed(error.code, error.message, error.code === 'install_unavailable')
    }
    if (error instanceof GpuUnavailable) return failed('gpu_unavailable', 'This worker has no GPU to give.', true)
    throw error
  }
}

type Prepared = { parts: InputPart[] } | { killed: NonNullable<SandboxReceipt['killed']> }

async function prepare(options: ComputeOptions, job: ComputeJob): Promise<Prepared> {
  const parts: InputPart[] = []
  const limits = computeLimits(job.limits)
  if (job.bundle !== undefined) {
    const neededMiB = Math.ceil(job.bundle.unpackedBytes / 1024 / 1024)
    if (job.bundle.unpackedBytes > limits.diskBytes)
      throw new InputInvalid(`the bundle unpacks to ${neededMiB} MiB, and limits.diskMiB is less`)
    options.onPhase('fetch')
    const archive = await options.fetchBundle(job.bundle, options.folder)
    parts.push({ archive, accept: () => true, linked: false })
  }
  if (job.files.length > 0) parts.push({ files: job.files })
  if (!job.install) return { parts }
  options.onPhase('install')
  options.record.enter('install')
  const installed = await installPackages({
    ...{ sandbox: options.record.sandbox, npm: options.findNpm(), network: options.network, limits, parts },
    ...{ egress: options.claim.egress, folder: options.folder, onEgress: options.onEgress, signal: options.signal },
    onOutput: (chunk) => options.jobLog.write('stderr', chunk),
  })
  return installed.ok ? { parts: [...parts, installed.part] } : { killed: installed.killed }
}

async function runCommand(options: ComputeOptions, job: ComputeJob, parts: readonly InputPart[]): Promise<ComputeEnd> {
  const { nodeMount, jobLog } = options
  const reader = createOutputReader(options.createDigest, options.outputFolder)
  options.onPhase('run')
  options.record.enter('run')
  const result = await options.record.sandbox.run({
    command: ['/bin/sh', '-c', script, 'job', parts.length > 0 ? 'files' : 'none', ...job.command],
    env: { ...(nodeMount && { PATH: nodeMount.path }), ...job.env },
    mounts: nodeMount?.mounts ?? [],
    ...(parts.length > 0 && { stdin: packInput(parts) }),
    ...(Object.keys(job.secrets).length > 0 && { secrets: job.secrets }),
    ...(job.gpu && { gpu: true }),
    limits: computeLimits(job.limits),
    onOutput: (stream, chunk) => jobLog.write(stream, chunk),
    onArchive: (chunk) => reader.write(chunk),
    signal: options.signal,
  })
  const manifest = await reader.finish()
  const failure = findFailure(result, manifest)
  if (failure !== undefined && result.receipt.killed !== null) jobLog.note(failure.message)
  if (manifest.skipped > 0) jobLog.note(`${manifest.skipped} entries of /job/out are not regular files: left out`)
  if (manifest.unlisted > 0) jobLog.note(`${manifest.unlisted} more files of /job/out are not listed and not stored`)
  if (manifest.spoolFault !== undefined)
    jobLog.note(`the files of /job/out could not be kept on this machine (${manifest.spoolFault}): they are not stored`)
  return toEnd(result, manifest, failure)
}

/** What a result says of a file that has no artifact. */
export function unstored<File extends object>(file: File, reason: string): File & { stored: false; reason: string } {
  return { ...file, stored: false, reason }
}

function toEnd(
  { exitCode, signal, receipt }: SandboxResult,
  manifest: OutputManifest,
  failure: { code: string; message: string } | undefined,
): ComputeEnd {
  const { killed, wallMs, cpuMs, peakMemoryBytes } = receipt
  const { skipped, unlisted, spoolFault } = manifest
  const listed = manifest.outputs.map(({ name: _, ...file }) => file)
  const completion: Completion = {
    outcome: failure === undefined ? 'succeeded' : 'failed',
    result: {
      ...{ exitCode, signal, killed, wallMs, cpuMs, peakMemoryBytes },
      outputs: spoolFault === undefined ? listed : listed.map((file) => unstored(file, 'worker_disk')),
      ...(skipped > 0 && { outputsSkipped: skipped }),
      ...(unlisted > 0 && { outputsUnlisted: unlisted }),
    },
    ...(failure !== undefined && { error: failure }),
  }
  return { completion, outputs: spoolFault === undefined ? manifest.outputs : [] }
}

function failed(code: string, message: string, infrastructure = false): ComputeEnd {
  const completion: Completion = {
    outcome: 'failed',
    error: { code, message },
    ...(infrastructure && { infrastructure }),
  }
  return { completion, outputs: [] }
}

function endedInstall({ jobLog }: ComputeOptions, killed: NonNullable<SandboxReceipt['killed']>): ComputeEnd {
  const message = `While packages were installed: ${limitMessages[killed]}`
  jobLog.note(message)
  return failed(`limit_${killed}`, message)
}

const limitMessages: Record<NonNullable<SandboxReceipt['killed']>, string> = {
  wall: 'The job ran longer than it may and was ended.',
  cpu: 'The job used more CPU time than it may and was ended.',
  memory: 'The job used more memory than it may and was ended.',
  pids: 'The job started more processes than it may and was ended.',
  output: 'The job printed more than it may and was ended; the log ends where the limit was reached.',
  archive: 'The results of the job are larger than they may be.',
  canceled: 'The job was ended.',
}

function findFailure(result: SandboxResult, manifest: OutputManifest): { code: string; message: string } | undefined {
  const { killed } = result.receipt
  if (killed !== null) return { code: `limit_${killed}`, message: limitMessages[killed] }
  if (result.exitCode === null) {
    return { code: 'signal', message: `The command was ended by ${result.signal ?? 'a signal'}.` }
  }
  if (result.exitCode !== 0)
    return { code: 'exit_code', message: `The command ended with exit code ${result.exitCode}.` }
  if (manifest.damaged) return { code: 'output_archive', message: 'The results in /job/out could not be read.' }
  return undefined
}
