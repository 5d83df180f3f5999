import { endUserSessions } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { requireUserId } from '../../../user-choice.ts'

export const endSessions = defineCommand({
  name: 'admin user end-sessions',
  summary: 'end all sessions of a person',
  usage: 'USER',
  options: { ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const act = { params: { userId: await requireUserId(client, context.arguments[0] ?? '') } }
    const stepUp = await proveYourself(context, client, endUserSessions, act)
    await client.call(endUserSessions, { ...act, stepUp })
    return { json: { ...act.params, ended: true }, lines: ['Every session of theirs has ended.'] }
  },
})
