import { resumeQueues, updateQueue } from '@hivesync/contracts/queues.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireKind } from '../../job-kind.ts'
import { projectOption, requireProject } from '../../project-choice.ts'

export const resume = defineCommand({
  name: 'queue resume',
  summary: 'let jobs of a kind start again',
  usage: 'KIND',
  notes: ['In one project for its owners, with --all-projects for admins; what the other has paused stays paused.'],
  options: {
    project: projectOption,
    'all-projects': { type: 'boolean', summary: 'in every project; admins only' },
  },
  arguments: [1, 1],
  async run(context) {
    const kind = requireKind(context.arguments[0])
    const connection = await connect(context)
    if (context.options['all-projects']) {
      const resumed = await connection.client.call(resumeQueues, { params: { name: kind } })
      return { json: resumed, lines: [`Resumed ${kind} jobs.`] }
    }
    const project = await requireProject(connection, context.options.project)
    const params = { projectId: project.id, kind }
    const queue = await connection.client.call(updateQueue, { params, body: { paused: false } })
    const still = queue.paused === null ? '' : ' An administrator has still paused them in every project.'
    return { json: queue, lines: [`Resumed ${kind} jobs of ${project.name}.${still}`] }
  },
})
