import type { NewJob } from '@hivesync/contracts/jobs.ts'
import { createSchedule } from '@hivesync/contracts/schedules.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { readSubmitOptions, submitOptions } from '../../submit-options.ts'

export const add = defineCommand({
  name: 'schedule add',
  summary: 'submit a job again and again: a command, or with --ingest the ingest of a repository',
  usage: 'NAME CRON [OPTIONS] [-- COMMAND [ARGUMENT…]]',
  notes: [
    'CRON is one argument of five fields: minute, hour, day of month, month, day of week, such as "30 3 * * MON-FRI".',
    'It runs with your rights, or those of your API key, and stops when they end.',
  ],
  options: {
    zone: {
      type: 'string',
      value: 'ZONE',
      summary: 'in which the times are meant, such as Europe/Berlin; UTC unless given',
    },
    ingest: { type: 'string', value: 'URL', summary: 'ingest this repository' },
    ref: { type: 'string', value: 'REF', summary: 'of the repository: branch, tag or full commit id' },
    missed: {
      type: 'string',
      value: 'skip|once',
      summary: 'after missed runs: go on, or run once for them all; skip unless given',
    },
    overlap: {
      type: 'string',
      value: 'skip|allow',
      summary: 'while its last job has not ended: no run, or another; skip unless given',
    },
    ...submitOptions,
    project: projectOption,
  },
  arguments: [2, 258],
  async run(context) {
    const { options } = context
    const [name = '', cron = '', ...command] = context.arguments
    const settings = readSubmitOptions(options)
    const job = { ...readInput(options, command), ...settings }
    const missed = oneOf(['skip', 'once'], options.missed, '--missed')
    const overlap = oneOf(['skip', 'allow'], options.overlap, '--overlap')
    const connection = await connect(context)
    const project = await requireProject(connection, options.project)
    const schedule = await connection.client.call(createSchedule, {
      params: { projectId: project.id },
      body: {
        ...{ name, cron, job, overlap, timeZone: options.zone },
        missedRuns: missed === 'once' ? 'run_once' : missed,
      },
    })
    const times = schedule.nextRuns.map((time) => `  ${time}`)
    return { json: schedule, lines: [`Made the schedule ${schedule.name} (${schedule.id}). It runs next at`, ...times] }
  },
})

function readInput(
  { ingest, ref }: { ingest: string | undefined; ref: string | undefined },
  command: string[],
):
  | Pick<Extract<NewJob, { kind: 'ingest' }>, 'kind' | 'input'>
  | Pick<Extract<NewJob, { kind: 'compute' }>, 'kind' | 'input'> {
  if (ingest !== undefined && command.length === 0) return { kind: 'ingest', input: { repository: ingest, ref } }
  if (ingest !== undefined || ref !== undefined)
    throw usageError('Say either --ingest URL, with --ref if wanted, or -- COMMAND')
  if (command.length === 0) throw usageError('What shall run? Say -- COMMAND, or --ingest URL')
  return { kind: 'compute', input: { command } }
}

function oneOf<const T extends string>(known: readonly T[], given: string | undefined, option: string): T | undefined {
  const match = known.find((candidate) => candidate === given)
  if (given !== undefined && match === undefined) throw usageError(`${option} is one of: ${known.join(', ')}`)
  return match
}
