import { jobKinds } from '@hivesync/contracts/job-kinds.ts'
import { jobStates, listJobs } from '@hivesync/contracts/jobs.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { durationOf, stateCell } from '../../job-lines.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { tableLines } from '../../table.ts'
import { formatAge, parseCount } from '../../units.ts'

export const ls = defineCommand({
  name: 'job ls',
  summary: 'the jobs of a project, newest first',
  usage: '',
  options: {
    project: projectOption,
    state: { type: 'string', short: 's', value: 'STATE', summary: jobStates.join(', ') },
    kind: { type: 'string', short: 'k', value: 'KIND', summary: jobKinds.join(', ') },
    limit: { type: 'string', short: 'n', value: 'N', summary: 'at most so many; 20 unless given' },
  },
  async run(context) {
    const { options, machine, terminal } = context
    const connection = await connect(context)
    const limit = options.limit === undefined ? 20 : parseCount(options.limit, '--limit', { min: 1, max: 10_000 })
    const state = requireOneOf(jobStates, options.state, '--state')
    const kind = requireOneOf(jobKinds, options.kind, '--kind')
    const project = await requireProject(connection, options.project)
    const params = { projectId: project.id }
    const { items, nextCursor } = await listAll(
      (cursor) =>
        connection.client.call(listJobs, {
          params,
          query: { state, kind, cursor, limit: String(Math.min(limit, 200)) },
        }),
      limit,
    )
    const rows = items.map((job) => [
      job.id,
      job.kind,
      stateCell(job.state),
      formatAge(job.submittedAt, machine.now()),
      durationOf(job, machine.now()),
      job.subject,
      job.error?.message ?? job.message ?? '',
    ])
    if (rows.length === 0) await terminal.note(`No jobs in ${project.name}.`)
    if (nextCursor !== null) await terminal.note(`There are more: say --limit ${limit * 2}`)
    const headings = ['JOB', 'KIND', 'STATE', 'SUBMITTED', 'TOOK', 'SUBJECT', 'ABOUT']
    return {
      json: { items, nextCursor },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout')),
    }
  },
})

function requireOneOf<const T extends string>(
  known: readonly T[],
  given: string | undefined,
  option: string,
): T | undefined {
  const match = known.find((candidate) => candidate === given)
  if (given !== undefined && match === undefined) throw usageError(`${option} is one of: ${known.join(', ')}`)
  return match
}
