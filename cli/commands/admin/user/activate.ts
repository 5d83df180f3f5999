import { activateUser } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const activate = defineCommand({
  name: 'admin user activate',
  summary: 'let a person in again; what had ended stays ended',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = { params: { userId: await requireUserId(client, context.arguments[0] ?? '') } }
    const stepUp = await proveYourself(context, client, activateUser, act)
    const user = await client.call(activateUser, { ...act, stepUp })
    return { json: user, lines: [`${user.username} may log in again.`] }
  },
})
