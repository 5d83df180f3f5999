import { updateQueue } from '@hivesync/contracts/queues.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireKind } from '../../job-kind.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { parseCount } from '../../units.ts'

export const limit = defineCommand({
  name: 'queue limit',
  summary: 'let at most so many jobs of a kind run at once in a project; its owners',
  usage: 'KIND N',
  notes: ['N is a number, or none: then only the plan of the team limits it.'],
  options: { project: projectOption },
  arguments: [2, 2],
  async run(context) {
    const kind = requireKind(context.arguments[0])
    const [, given = ''] = context.arguments
    const maxRunning = given === 'none' ? null : parseCount(given, 'N', { min: 1, max: 10_000 })
    const connection = await connect(context)
    const project = await requireProject(connection, context.options.project)
    const params = { projectId: project.id, kind }
    const queue = await connection.client.call(updateQueue, { params, body: { maxRunning } })
    const most = queue.maxRunning === null ? 'as many as the plan allows' : `at most ${queue.maxRunning}`
    return { json: queue, lines: [`${project.name} runs ${most} ${kind} jobs at once.`] }
  },
})
