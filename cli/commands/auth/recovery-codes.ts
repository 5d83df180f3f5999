import { renewRecoveryCodes } from '@hivesync/contracts/mfa.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { recoveryLines } from '../../recovery-lines.ts'
import { proofOptions, proveYourself } from '../../step-up.ts'

export const recoveryCodes = defineCommand({
  name: 'auth recovery-codes',
  summary: 'new recovery codes; the old ones are worthless at once',
  usage: '',
  notes: ['Prints the codes alone on standard output, this once.'],
  options: { ...proofOptions },
  async run(context) {
    const { client } = await connect(context)
    const stepUp = await proveYourself(context, client, renewRecoveryCodes)
    const reply = await client.call(renewRecoveryCodes, { stepUp })
    await context.terminal.note(...recoveryLines)
    return { json: reply, lines: reply.recoveryCodes }
  },
})
