import { transferTeam } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { proofOptions, proveYourself } from '../../step-up.ts'
import { requireMember, requireTeam } from '../../team-choice.ts'

export const transfer = defineCommand({
  name: 'team transfer',
  summary: 'hand a team over to a member; you become an admin of it',
  usage: 'TEAM USER',
  options: { ...proofOptions },
  arguments: [2, 2],
  async run(context) {
    const [named = '', user = ''] = context.arguments
    const { client } = await connect(context)
    const before = await requireTeam(client, named)
    const { userId, username } = await requireMember(client, before, user)
    const act = { params: { teamId: before.id }, body: { userId } }
    const stepUp = await proveYourself(context, client, transferTeam, act)
    const team = await client.call(transferTeam, { ...act, stepUp })
    return { json: team, lines: [`${username} owns ${team.name} now; you are ${team.role} of it.`] }
  },
})
