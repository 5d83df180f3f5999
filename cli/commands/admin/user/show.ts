import { getUser } from '@hivesync/contracts/admin.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { requireUserId } from '../../../user-choice.ts'
import { userLines } from '../../../user-lines.ts'

export const show = defineCommand({
  name: 'admin user show',
  summary: 'one person in full',
  usage: 'USER',
  notes: ['USER is a user name, an email address or an id, here and in the other commands of admin user.'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const userId = await requireUserId(client, context.arguments[0] ?? '')
    const user = await client.call(getUser, { params: { userId } })
    return { json: user, lines: userLines(user, context.machine.now()) }
  },
})
