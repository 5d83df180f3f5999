import { listSchedules } from '@hivesync/contracts/schedules.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { tableLines } from '../../table.ts'

export const ls = defineCommand({
  name: 'schedule ls',
  summary: 'the schedules of a project, when each runs next and what became of the last run',
  usage: '',
  options: { project: projectOption },
  async run(context) {
    const connection = await connect(context)
    const project = await requireProject(connection, context.options.project)
    const { items } = await listAll((cursor) =>
      connection.client.call(listSchedules, { params: { projectId: project.id }, query: { limit: '200', cursor } }),
    )
    const rows = items.map((schedule) => [
      schedule.name,
      schedule.cron,
      schedule.timeZone,
      schedule.pausedAt === null ? (schedule.nextRunAt ?? '') : 'paused',
      schedule.lastRefusal ?? schedule.lastJobId ?? '',
      schedule.id,
    ])
    if (rows.length === 0) await context.terminal.note(`No schedules in ${project.name}.`)
    const headings = ['NAME', 'CRON', 'ZONE', 'NEXT', 'LAST', 'ID']
    return {
      json: { items },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, context.terminal.columns('stdout')),
    }
  },
})
