import { startUserReset } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const reset = defineCommand({
  name: 'admin user reset',
  summary: 'send a person the mail with which they set a new password',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = { params: { userId: await requireUserId(client, context.arguments[0] ?? '') } }
    const stepUp = await proveYourself(context, client, startUserReset, act)
    await client.call(startUserReset, { ...act, stepUp })
    return {
      json: { ...act.params, mailed: true },
      lines: ['The mail is on its way. Nobody else chooses or sees the new password.'],
    }
  },
})
