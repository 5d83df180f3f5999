import { revokeInvitation } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireInvitation } from '../../invitation-choice.ts'
import { requireTeam } from '../../team-choice.ts'

export const uninvite = defineCommand({
  name: 'team uninvite',
  summary: 'take an invitation back',
  usage: 'TEAM EMAIL',
  notes: ['Instead of the address the id of the invitation will do.'],
  options: {},
  arguments: [2, 2],
  async run(context) {
    const [named = '', invited = ''] = context.arguments
    const { client } = await connect(context)
    const team = await requireTeam(client, named)
    const { id, email } = await requireInvitation(client, team, invited)
    await client.call(revokeInvitation, { params: { teamId: team.id, invitationId: id } })
    return {
      json: { id, email, revoked: true },
      lines: [`The invitation of ${email} to ${team.name} is worthless now.`],
    }
  },
})
