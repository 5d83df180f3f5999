import { deactivateUser } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const deactivate = defineCommand({
  name: 'admin user deactivate',
  summary: 'shut a person out: sessions, keys, jobs and streams end',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = { params: { userId: await requireUserId(client, context.arguments[0] ?? '') } }
    const stepUp = await proveYourself(context, client, deactivateUser, act)
    const user = await client.call(deactivateUser, { ...act, stepUp })
    return { json: user, lines: [`${user.username} is shut out.`] }
  },
})
