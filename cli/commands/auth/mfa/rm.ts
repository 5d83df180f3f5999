import { type Factor, listFactors, removePasskey, removeTotp } from '@hivesync/contracts/mfa.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { CliError, usageError } from '../../../failure.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'

export const rm = defineCommand({
  name: 'auth mfa rm',
  summary: 'remove a second factor or passkey',
  usage: 'FACTOR',
  notes: ['FACTOR is an id or name of `hivesync auth mfa ls`, or `totp` for the authenticator app.'],
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { items } = await client.call(listFactors)
    const factor = requireFactor(items, context.arguments[0] ?? '')
    if (factor.kind === 'totp') {
      await client.call(removeTotp, { stepUp: await proveYourself(context, client, removeTotp) })
    } else if (factor.kind === 'passkey') {
      const params = { factorId: factor.id }
      const stepUp = await proveYourself(context, client, removePasskey, { params })
      await client.call(removePasskey, { params, stepUp })
    } else throw usageError(`This version cannot remove a factor of the kind ${factor.kind}`, 'Use a newer hivesync')
    return { json: { id: factor.id, kind: factor.kind, removed: true }, lines: [`Removed ${factor.name}.`] }
  },
})

function requireFactor(factors: readonly Factor[], named: string): Factor {
  const byId = factors.find(({ id }) => id === named)
  if (byId !== undefined) return byId
  const matches = factors.filter(({ kind, name }) => name === named || (named === 'totp' && kind === 'totp'))
  const [first] = matches
  if (first === undefined) {
    throw new CliError('factor_not_found', 'notFound', `There is no factor ${named}`, 'See: hivesync auth mfa ls')
  }
  if (matches.length === 1) return first
  throw usageError(
    `${matches.length} factors are called ${named}`,
    `Use an id: ${matches.map(({ id }) => id).join(', ')}`,
  )
}
