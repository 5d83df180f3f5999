import { changeTeamMember } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireMember, requireTeam } from '../../team-choice.ts'
import { readTeamRole } from '../../team-role.ts'

export const role = defineCommand({
  name: 'team role',
  summary: 'give a member of a team another role',
  usage: 'TEAM USER ROLE',
  notes: [
    'For example: hivesync team role Crew grace admin',
    'ROLE is member, admin or owner. Nobody gives or takes a role above their own, and the last owner stays.',
  ],
  options: {},
  arguments: [3, 3],
  async run(context) {
    const [named = '', user = '', wanted = ''] = context.arguments
    const body = { role: readTeamRole(wanted) }
    const { client } = await connect(context)
    const team = await requireTeam(client, named)
    const { userId } = await requireMember(client, team, user)
    const member = await client.call(changeTeamMember, { params: { teamId: team.id, userId }, body })
    return { json: member, lines: [`${member.username} is now ${member.role} of ${team.name}.`] }
  },
})
