import { getMe } from '@hivesync/contracts/accounts.ts'
import { removeTeamMember } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireTeam } from '../../team-choice.ts'

export const leave = defineCommand({
  name: 'team leave',
  summary: 'leave a team; its last owner cannot',
  usage: 'TEAM',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const team = await requireTeam(client, context.arguments[0] ?? '')
    const { id: userId } = await client.call(getMe)
    await client.call(removeTeamMember, { params: { teamId: team.id, userId } })
    return { json: { teamId: team.id, userId, removed: true }, lines: [`You have left ${team.name}.`] }
  },
})
