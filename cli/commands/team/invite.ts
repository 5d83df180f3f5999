import { createInvitation } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireTeam } from '../../team-choice.ts'
import { readTeamRole } from '../../team-role.ts'
import { formatAge } from '../../units.ts'

export const invite = defineCommand({
  name: 'team invite',
  summary: 'invite somebody to a team by mail',
  usage: 'TEAM EMAIL',
  notes: [
    'For example: hivesync team invite Crew grace@example.net --role admin',
    'Only an account that has proved this address can accept. Nobody invites to a role above their own.',
  ],
  options: {
    role: { type: 'string', value: 'ROLE', summary: 'member unless given; admin, owner' },
  },
  arguments: [2, 2],
  async run(context) {
    const [named = '', email = ''] = context.arguments
    const role = readTeamRole(context.options.role ?? 'member')
    const { client } = await connect(context)
    const team = await requireTeam(client, named)
    const invitation = await client.call(createInvitation, { params: { teamId: team.id }, body: { email, role } })
    const until = formatAge(invitation.expiresAt, context.machine.now())
    return { json: invitation, lines: [`Invited ${invitation.email} to ${team.name} as ${role}; it expires ${until}.`] }
  },
})
