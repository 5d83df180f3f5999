import { deleteSchedule } from '@hivesync/contracts/schedules.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { requireSchedule } from '../../schedule-choice.ts'

export const rm = defineCommand({
  name: 'schedule rm',
  summary: 'delete a schedule; the jobs that it submitted stay',
  usage: 'SCHEDULE',
  notes: ['SCHEDULE is a name or an id.'],
  options: { project: projectOption },
  arguments: [1, 1],
  async run(context) {
    const connection = await connect(context)
    const project = await requireProject(connection, context.options.project)
    const { id, name } = await requireSchedule(connection.client, project.id, context.arguments[0] ?? '')
    await connection.client.call(deleteSchedule, { params: { projectId: project.id, scheduleId: id } })
    return { json: { id, name, deleted: true }, lines: [`Deleted the schedule ${name}.`] }
  },
})
