import { updateTeam } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireTeam } from '../../team-choice.ts'

export const rename = defineCommand({
  name: 'team rename',
  summary: 'give a team another name; its admins and owners',
  usage: 'TEAM NAME',
  notes: ['TEAM is a name or an id, here and in the other team commands.'],
  options: {},
  arguments: [2, 2],
  async run(context) {
    const { client } = await connect(context)
    const [named = '', name = ''] = context.arguments
    const { id, name: before } = await requireTeam(client, named)
    const team = await client.call(updateTeam, { params: { teamId: id }, body: { name } })
    return { json: team, lines: [`${before} is now ${team.name}.`] }
  },
})
