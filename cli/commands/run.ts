import type { ComputeLimits } from '@hivesync/contracts/job-kinds.ts'
import { type Job, submitJob } from '@hivesync/contracts/jobs.ts'
import type { JobEvent } from '@hivesync/sdk'
import { requireBundle } from '../bundle-choice.ts'
import { defineCommand } from '../command.ts'
import { connect } from '../context.ts'
import { usageError } from '../failure.ts'
import { cancelOnInterruptOption, type Followed, followedExitCode, followJob, interruptNote } from '../follow-job.ts'
import { readJobFiles } from '../job-files.ts'
import { whyLines } from '../job-lines.ts'
import { readJobSecrets } from '../job-secrets.ts'
import { createLogOutput } from '../log-output.ts'
import type { OptionValues } from '../options.ts'
import { projectOption, requireProject } from '../project-choice.ts'
import { readSubmitOptions, submitOptions } from '../submit-options.ts'
import { dim, type Line, type Terminal } from '../terminal.ts'
import { parseCount, parseMebibytes, parseSeconds } from '../units.ts'

const limitOptions = {
  timeout: { type: 'string', value: 'TIME', summary: 'end it after so long, at most 1h: 30s, 5m' },
  'cpu-time': { type: 'string', value: 'TIME', summary: 'end it after so much CPU time' },
  memory: { type: 'string', value: 'SIZE', summary: 'memory of all its processes: 512m, 1g' },
  disk: { type: 'string', value: 'SIZE', summary: 'what it may write: 64m' },
  processes: { type: 'string', value: 'N', summary: 'processes and threads at the same time' },
  output: { type: 'string', value: 'KIB', summary: 'end it after so many KiB of output' },
} as const

export const run = defineCommand({
  name: 'run',
  summary: 'run a command in a sandbox on a worker',
  usage: '[OPTIONS] -- COMMAND [ARGUMENT…]',
  notes: [
    'The command’s standard output comes to standard output, its standard error to standard error.',
    'On a terminal its control characters are shown as escapes. When standard output is a file or a pipe it is passed on',
    'unchanged; look at such a file as you would at any from a stranger.',
    'Ends with the exit code of the command; with 1 when the job failed without one (limit, lost worker).',
    'The sandbox has no network, and of your files only those given with --file or --bundle.',
    interruptNote,
  ],
  options: {
    file: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'LOCAL[:REMOTE]',
      summary: 'put a text file into the job’s folder',
    },
    env: { type: 'string', short: 'e', multiple: true, value: 'NAME=VALUE', summary: 'set a variable for the command' },
    bundle: {
      type: 'string',
      short: 'b',
      value: 'ID|FOLDER',
      summary: 'run on an uploaded bundle, or upload a folder first',
    },
    secret: {
      type: 'string',
      multiple: true,
      value: 'NAME=FILE',
      summary: 'a secret for the command, as a file below /run/secrets; NAME may be any name',
    },
    install: { type: 'boolean', summary: 'npm ci first, by the bundle’s lockfile, from hosts the project allows' },
    gpu: { type: 'boolean', summary: 'only on a worker that gives a GPU' },
    ...submitOptions,
    project: projectOption,
    ...limitOptions,
    'no-wait': { type: 'boolean', summary: 'only submit, do not watch' },
    'cancel-on-interrupt': cancelOnInterruptOption,
  },
  arguments: [1, 256],
  async run(context) {
    const { options, terminal } = context
    const settings = readSubmitOptions(options)
    const connection = await connect(context)
    const { client } = connection
    const input = {
      command: [...context.arguments],
      files: await readJobFiles(options.file),
      env: readVariables(options.env),
      limits: readLimits(options),
      secrets: await readJobSecrets(options.secret),
      install: options.install ? { manager: 'npm' as const } : undefined,
      gpu: options.gpu || undefined,
    }
    const project = await requireProject(connection, options.project)
    const bundle = await requireBundle(client, terminal, project.id, options.bundle)
    const submitted = await client.call(submitJob, {
      params: { projectId: project.id },
      body: {
        kind: 'compute',
        input: { ...input, bundle },
        ...settings,
      },
      idempotencyKey: context.machine.newId(),
    })
    if (options['no-wait']) {
      return {
        json: { job: submitted },
        lines: [`Queued job ${submitted.id}. Its output: hivesync job logs -f ${submitted.id}`],
      }
    }
    if (terminal.isLive) await terminal.note(dim(`job ${submitted.id}`))
    const output = terminal.json ? collectOutput() : streamOutput(terminal)
    const cancelOnInterrupt = options['cancel-on-interrupt']
    const followed = await followJob(context, client, submitted, { onEvent: output.onEvent, cancelOnInterrupt })
    if (followed.how === 'ended' && followed.job.state !== 'succeeded')
      await terminal.warn(...failureLines(followed.job))
    return { json: { ...followed, ...output.collected }, exitCode: exitCodeOf(followed) }
  },
})

function streamOutput(terminal: Terminal) {
  const log = createLogOutput(terminal, -1)
  let shown = 'run'
  return {
    collected: {},
    async onEvent(event: JobEvent): Promise<void> {
      // On a terminal each step that is not the command itself is announced.
      if (event.type === 'progress' && terminal.isLive && event.data.phase !== shown) {
        shown = event.data.phase
        await terminal.note(dim(`── ${shown}`))
      }
      if (event.type === 'log') await log.write(event.data)
    },
  }
}

/** With --json the output is part of the one document. */
function collectOutput() {
  const collected = { stdout: '', stderr: '', remarks: '' }
  const members = { stdout: 'stdout', stderr: 'stderr', system: 'remarks' } as const
  return {
    collected,
    async onEvent(event: JobEvent): Promise<void> {
      if (event.type === 'log') collected[members[event.data.stream]] += event.data.text
    },
  }
}

function commandExitCode(job: Job): number | undefined {
  const code = job.result?.exitCode
  return typeof code === 'number' && Number.isInteger(code) && code >= 0 && code <= 255 ? code : undefined
}

/** The command's own exit code once it ran; a job that failed in spite of an exit code 0 must not look like a success. */
function exitCodeOf(followed: Followed): number {
  const own = followed.how === 'ended' ? commandExitCode(followed.job) : undefined
  const fallback = followedExitCode(followed)
  return own === undefined || (own === 0 && fallback !== 0) ? fallback : own
}

/** An exit code that is not 0 speaks for itself, as in a shell. */
function failureLines(job: Job): Line[] {
  const code = commandExitCode(job)
  if (code !== undefined && code !== 0) return []
  const reasons = whyLines(job)
  return reasons.length > 0 ? reasons : [`  the job ${job.state}`]
}

function readVariables(given: readonly string[]): Record<string, string> | undefined {
  if (given.length === 0) return undefined
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=')
      if (at < 1) throw usageError('--env takes NAME=VALUE', 'Variables of this shell are not passed on by themselves')
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}

function readLimits(options: OptionValues<typeof limitOptions>): ComputeLimits | undefined {
  const limits: ComputeLimits = {}
  const { timeout, memory, disk, processes, output } = options
  const cpuTime = options['cpu-time']
  if (timeout !== undefined) limits.wallSeconds = parseSeconds(timeout, '--timeout')
  if (cpuTime !== undefined) limits.cpuSeconds = parseSeconds(cpuTime, '--cpu-time')
  if (memory !== undefined) limits.memoryMiB = parseMebibytes(memory, '--memory')
  if (disk !== undefined) limits.diskMiB = parseMebibytes(disk, '--disk')
  if (processes !== undefined) limits.processes = parseCount(processes, '--processes', { min: 4, max: 512 })
  if (output !== undefined) limits.outputKiB = parseCount(output, '--output', { min: 1, max: 16_384 })
  return Object.keys(limits).length === 0 ? undefined : limits
}
