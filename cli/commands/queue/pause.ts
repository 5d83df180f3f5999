import { pauseQueues, updateQueue } from '@hivesync/contracts/queues.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { requireKind } from '../../job-kind.ts'
import { projectOption, requireProject } from '../../project-choice.ts'

export const pause = defineCommand({
  name: 'queue pause',
  summary: 'let no more jobs of a kind start; what is submitted waits, what runs goes on',
  usage: 'KIND',
  notes: ['KIND is ingest or compute. In one project for its owners, with --all-projects for admins.'],
  options: {
    project: projectOption,
    'all-projects': { type: 'boolean', summary: 'in every project; admins only' },
    reason: { type: 'string', value: 'TEXT', summary: 'what people read whose jobs wait; with --all-projects' },
  },
  arguments: [1, 1],
  async run(context) {
    const { options } = context
    const kind = requireKind(context.arguments[0])
    const connection = await connect(context)
    if (options['all-projects']) {
      const body = { reason: options.reason }
      const paused = await connection.client.call(pauseQueues, { params: { name: kind }, body })
      return { json: paused, lines: [`Paused ${kind} jobs in every project.`] }
    }
    if (options.reason !== undefined) throw usageError('--reason goes with --all-projects')
    const project = await requireProject(connection, options.project)
    const params = { projectId: project.id, kind }
    const queue = await connection.client.call(updateQueue, { params, body: { paused: true } })
    return { json: queue, lines: [`Paused ${kind} jobs of ${project.name}: ${queue.waiting} wait.`] }
  },
})
