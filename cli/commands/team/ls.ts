import { listTeams } from '@hivesync/contracts/teams.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const ls = defineCommand({
  name: 'team ls',
  summary: 'the teams you belong to, newest first',
  usage: '',
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listTeams, { query: { limit: '200', cursor } }))
    const rows = items.map((team) => [
      team.role,
      team.isPersonal ? 'personal' : '',
      team.tier,
      formatAge(team.createdAt, machine.now()),
      team.id,
      team.name,
    ])
    const headings = ['ROLE', 'KIND', 'TIER', 'CREATED', 'ID', 'NAME']
    return { json: { items }, lines: tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
