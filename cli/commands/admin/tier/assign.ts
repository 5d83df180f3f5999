import { setTeamTier } from '@hivesync/contracts/tiers.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireTier } from './set.ts'

export const assignTier = defineCommand({
  name: 'admin tier assign',
  summary: 'put a team on a plan',
  usage: 'TEAM-ID PLAN',
  options: { ...proofOptions },
  arguments: [2, 2],
  async run(context) {
    const [teamId = '', name = ''] = context.arguments
    const act = { params: { teamId }, body: { tier: requireTier(name) } }
    const { client } = await connect(context)
    const stepUp = await proveYourself(context, client, setTeamTier, act)
    await client.call(setTeamTier, { ...act, stepUp })
    return { json: { teamId, tier: act.body.tier }, lines: [`The team is on the plan ${act.body.tier} now.`] }
  },
})
