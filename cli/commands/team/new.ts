import { createTeam } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const create = defineCommand({
  name: 'team new',
  summary: 'create a team and own it',
  usage: 'NAME',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const team = await client.call(createTeam, { body: { name: context.arguments[0] ?? '' } })
    return { json: team, lines: [`Created team ${team.name} (${team.id}). You own it.`] }
  },
})
