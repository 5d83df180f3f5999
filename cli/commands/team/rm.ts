import { deleteTeam } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { proofOptions, proveYourself } from '../../step-up.ts'
import { requireTeam } from '../../team-choice.ts'

export const rm = defineCommand({
  name: 'team rm',
  summary: 'delete a team without projects; its owners',
  usage: 'TEAM',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const team = await requireTeam(client, context.arguments[0] ?? '')
    const params = { teamId: team.id }
    const stepUp = await proveYourself(context, client, deleteTeam, { params })
    await client.call(deleteTeam, { params, stepUp })
    return { json: { id: team.id, name: team.name, deleted: true }, lines: [`Deleted team ${team.name}.`] }
  },
})
