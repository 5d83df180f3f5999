import type { Digest } from '../enrol/random.ts'
import type { JobLog } from '../report/job-log.ts'
import type { Completion } from '../report/outbox.ts'
import type { Sandbox, SandboxReceipt, SandboxResult } from '../sandbox/spec.ts'
import { computeLimits, InputInvalid, readComputeInput } from './compute-input.ts'
import { packFiles } from './input-archive.ts'
import type { NodeMount } from './node-mount.ts'
import { createOutputReader, type OutputManifest } from './output-archive.ts'

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

/**
 * Runs a command in the sandbox and answers how it ended. The files it leaves in /job/out are listed in the result with size
 * and digest; their contents are discarded until there is an artifact store. Rejects only when the sandbox itself fails.
 */
export async function runCompute(options: {
  sandbox: Sandbox
  input: Readonly<Record<string, unknown>>
  nodeMount: NodeMount | undefined
  jobLog: JobLog
  createDigest: () => Digest
  signal: AbortSignal
}): Promise<Completion> {
  const { sandbox, nodeMount, jobLog } = options
  try {
    const { command, files = [], env = {}, limits: asked } = readComputeInput(options.input)
    const limits = computeLimits(asked)
    const reader = createOutputReader(options.createDigest)
    const result = await sandbox.run({
      command: ['/bin/sh', '-c', script, 'job', files.length > 0 ? 'files' : 'none', ...command],
      env: { ...(nodeMount && { PATH: nodeMount.path }), ...env },
      mounts: nodeMount?.mounts ?? [],
      ...(files.length > 0 && { stdin: await packFiles(files) }),
      limits,
      onOutput: (stream, chunk) => jobLog.write(stream, chunk),
      onArchive: (chunk) => reader.write(chunk),
      signal: options.signal,
    })
    const manifest = await reader.finish()
    const failure = findFailure(result, manifest)
    if (failure !== undefined && result.receipt.killed !== null) jobLog.note(failure.message)
    if (manifest.skipped > 0) jobLog.note(`${manifest.skipped} entries of /job/out are not regular files: left out`)
    if (manifest.unlisted > 0) jobLog.note(`${manifest.unlisted} more files of /job/out are not listed`)
    return completionOf(result, manifest, failure)
  } catch (error) {
    if (!(error instanceof InputInvalid)) throw error
    return { outcome: 'failed', error: { code: 'invalid_input', message: error.message } }
  }
}

function completionOf(
  { exitCode, signal, receipt }: SandboxResult,
  { outputs, skipped, unlisted }: OutputManifest,
  failure: { code: string; message: string } | undefined,
): Completion {
  const { killed, wallMs, cpuMs, peakMemoryBytes } = receipt
  return {
    outcome: failure === undefined ? 'succeeded' : 'failed',
    result: {
      ...{ exitCode, signal, killed, wallMs, cpuMs, peakMemoryBytes },
      outputs,
      ...(skipped > 0 && { outputsSkipped: skipped }),
      ...(unlisted > 0 && { outputsUnlisted: unlisted }),
    },
    receipt: { ...receipt },
    ...(failure !== undefined && { error: failure }),
  }
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
