import { listAllTeams } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { tableLines } from '../../../table.ts'
import { formatBytes } from '../../../units.ts'

export const listEveryTeam = defineCommand({
  name: 'admin team ls',
  summary: 'the latest 200 teams of this server, and what they use',
  usage: '[Q]',
  notes: ['Q is the beginning of a name.'],
  options: {},
  arguments: [0, 1],
  async run(context) {
    const [q] = context.arguments
    const { client } = await connect(context)
    const found = await client.call(listAllTeams, { query: { limit: '200', ...(q !== undefined && { q }) } })
    if (found.nextCursor !== null) await context.terminal.note('There are more: say the beginning of a name.')
    const rows = found.items.map((team) => [
      team.name,
      team.tier,
      ...[team.members, team.projects, team.waitingJobs, team.runningJobs].map(String),
      formatBytes(team.storedBytes),
      team.id,
    ])
    const head = ['TEAM', 'PLAN', 'PEOPLE', 'PROJECTS', 'WAITING', 'RUNNING', 'STORED', 'ID']
    return { json: found, lines: tableLines(head, rows, context.terminal.columns('stdout')) }
  },
})
