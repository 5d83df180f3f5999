import { getProject } from '@hivesync/contracts/projects.ts'
import { listQueues, type Queue } from '@hivesync/contracts/queues.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireProject } from '../../project-choice.ts'
import { fieldLines } from '../../table.ts'

function describeQueue({ waiting, running, maxWaiting, maxRunning, paused }: Queue): string {
  const limit = maxRunning === null ? '' : ` of at most ${maxRunning}`
  const state = paused === null ? '' : `; paused by ${paused.by === 'admin' ? 'an administrator' : 'the project'}`
  return `${waiting} of at most ${maxWaiting} waiting, ${running}${limit} running${state}`
}

export const show = defineCommand({
  name: 'project show',
  summary: 'one project and its queues',
  usage: '[PROJECT]',
  options: {},
  arguments: [0, 1],
  async run(context) {
    const connection = await connect(context)
    const { client } = connection
    const { id } = await requireProject(connection, context.arguments[0])
    const project = await client.call(getProject, { params: { projectId: id } })
    const all = await listAll((cursor) => client.call(listQueues, { query: { limit: '200', cursor } }))
    const queues = all.items.filter((queue) => queue.projectId === id)
    const lines = fieldLines([
      ['project', project.name],
      ['id', project.id],
      ['team', project.teamId],
      ['role', project.role ?? 'none of your own'],
      ['created', project.createdAt],
      ['archived', project.archivedAt ?? undefined],
      ...queues.map((queue): [string, string] => [`${queue.kind} queue`, describeQueue(queue)]),
    ])
    return { json: { ...project, queues }, lines }
  },
})
