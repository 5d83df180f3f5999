import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { listMembers, requireTeam } from '../../team-choice.ts'

export const members = defineCommand({
  name: 'team members',
  summary: 'who is in a team, and as what',
  usage: 'TEAM',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const items = await listMembers(client, await requireTeam(client, context.arguments[0] ?? ''))
    const rows = items.map((member) => [member.username, member.role, member.createdAt, member.userId])
    const columns = context.terminal.columns('stdout')
    return { json: { items }, lines: tableLines(['USER', 'ROLE', 'SINCE', 'ID'], rows, columns) }
  },
})
