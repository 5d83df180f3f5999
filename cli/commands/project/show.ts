import { listQueues } from '@hivesync/contracts/jobs.ts'
import { getProject } from '@hivesync/contracts/projects.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireProject } from '../../project-choice.ts'
import { fieldLines } from '../../table.ts'

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
      ...queues.map(({ kind, waiting, running, maxWaiting }): [string, string] => [
        `${kind} queue`,
        `${waiting} of at most ${maxWaiting} waiting, ${running} running`,
      ]),
    ])
    return { json: { ...project, queues }, lines }
  },
})
