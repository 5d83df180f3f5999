import { updateSchedule } from '@hivesync/contracts/schedules.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { requireSchedule } from '../../schedule-choice.ts'

export const resume = defineCommand({
  name: 'schedule resume',
  summary: 'let a paused schedule run again, with your rights from then on',
  usage: 'SCHEDULE',
  notes: ['SCHEDULE is a name or an id.'],
  options: { project: projectOption },
  arguments: [1, 1],
  async run(context) {
    const connection = await connect(context)
    const project = await requireProject(connection, context.options.project)
    const { id } = await requireSchedule(connection.client, project.id, context.arguments[0] ?? '')
    const params = { projectId: project.id, scheduleId: id }
    const schedule = await connection.client.call(updateSchedule, { params, body: { paused: false } })
    return { json: schedule, lines: [`Resumed ${schedule.name}; it runs next at ${schedule.nextRunAt ?? 'no time'}.`] }
  },
})
