import { setUserRole } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const makeAdmin = defineCommand({
  name: 'admin user make-admin',
  summary: 'make a person an admin',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = { params: { userId: await requireUserId(client, context.arguments[0] ?? '') }, body: { isAdmin: true } }
    const stepUp = await proveYourself(context, client, setUserRole, act)
    const user = await client.call(setUserRole, { ...act, stepUp })
    return { json: user, lines: [`${user.username} is an admin now.`] }
  },
})
