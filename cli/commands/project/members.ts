import { listProjectMembers } from '@hivesync/contracts/projects.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'
import { tableLines } from '../../table.ts'

export const members = defineCommand({
  name: 'project members',
  summary: 'who may do what in a project',
  usage: '[PROJECT]',
  options: { project: projectOption },
  arguments: [0, 1],
  async run(context) {
    const connection = await connect(context)
    const { id } = await requireProject(connection, context.arguments[0] ?? context.options.project)
    const params = { projectId: id }
    const { items } = await listAll((cursor) =>
      connection.client.call(listProjectMembers, { params, query: { limit: '200', cursor } }),
    )
    const rows = items.map((member) => [member.username, member.role, member.createdAt, member.userId])
    return {
      json: { items },
      lines: tableLines(['USER', 'ROLE', 'SINCE', 'ID'], rows, context.terminal.columns('stdout')),
    }
  },
})
