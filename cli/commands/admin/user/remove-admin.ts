import { setUserRole } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const removeAdmin = defineCommand({
  name: 'admin user remove-admin',
  summary: 'make a person no longer an admin; the last one stays',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = {
      params: { userId: await requireUserId(client, context.arguments[0] ?? '') },
      body: { isAdmin: false },
    }
    const stepUp = await proveYourself(context, client, setUserRole, act)
    const user = await client.call(setUserRole, { ...act, stepUp })
    return { json: user, lines: [`${user.username} is no admin any more.`] }
  },
})
