import { removeTeamMember } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireMember, requireTeam } from '../../team-choice.ts'

export const remove = defineCommand({
  name: 'team remove',
  summary: 'take a member out of a team and of its projects',
  usage: 'TEAM USER',
  options: {},
  arguments: [2, 2],
  async run(context) {
    const [named = '', user = ''] = context.arguments
    const { client } = await connect(context)
    const team = await requireTeam(client, named)
    const { userId, username } = await requireMember(client, team, user)
    await client.call(removeTeamMember, { params: { teamId: team.id, userId } })
    return { json: { teamId: team.id, userId, removed: true }, lines: [`${username} is out of ${team.name}.`] }
  },
})
