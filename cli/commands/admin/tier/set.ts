import { changeTier, type Tier, TierLimits, tierNames } from '@hivesync/contracts/tiers.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { usageError } from '../../../failure.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'

export const setTierFigure = defineCommand({
  name: 'admin tier set',
  summary: 'change what a plan allows, for all its teams at once',
  usage: 'PLAN NAME=NUMBER…',
  notes: ['For example: hivesync admin tier set pro runningJobs=20 rateMultiplier=8'],
  options: { ...proofOptions },
  arguments: [2, 30],
  async run(context) {
    const [name = '', ...figures] = context.arguments
    const act = { params: { tier: requireTier(name) }, body: Object.fromEntries(figures.map(readFigure)) }
    const { client } = await connect(context)
    const stepUp = await proveYourself(context, client, changeTier, act)
    const tier = await client.call(changeTier, { ...act, stepUp })
    return { json: tier, lines: [`${tier.name} is changed; it holds from now on.`] }
  },
})

export function requireTier(name: string): Tier {
  const tier = tierNames.find((known) => known === name)
  if (tier === undefined) throw usageError(`${name} is no plan: ${tierNames.join(', ')}`)
  return tier
}

function readFigure(text: string): [string, number] {
  const [, name = '', digits] = /^(\w+)=(\d{1,15})$/.exec(text) ?? []
  if (digits === undefined) throw usageError(`${text} is not NAME=NUMBER`)
  if (!Object.hasOwn(TierLimits.properties, name))
    throw usageError(`${name} is no figure of a plan: ${Object.keys(TierLimits.properties).join(', ')}`)
  return [name, Number(digits)]
}
