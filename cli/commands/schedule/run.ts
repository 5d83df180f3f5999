import { runSchedule } from '@hivesync/contracts/schedules.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { requireSchedule } from '../../schedule-choice.ts'

export const run = defineCommand({
  name: 'schedule run',
  summary: 'submit the job of a schedule now, as a job of your own',
  usage: 'SCHEDULE',
  notes: ['SCHEDULE is a name or an id. Its times stay as they are.'],
  options: { project: projectOption },
  arguments: [1, 1],
  async run(context) {
    const connection = await connect(context)
    const project = await requireProject(connection, context.options.project)
    const { id } = await requireSchedule(connection.client, project.id, context.arguments[0] ?? '')
    const job = await connection.client.call(runSchedule, { params: { projectId: project.id, scheduleId: id } })
    return { json: { job }, lines: [`Queued job ${job.id}. Watch it: hivesync job watch ${job.id}`] }
  },
})
