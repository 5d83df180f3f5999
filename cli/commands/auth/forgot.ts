import { requestPasswordReset } from '@hivesync/contracts/credentials.ts'
import { defineCommand } from '../../command.ts'
import { connectPublicly } from '../../context.ts'

export const forgot = defineCommand({
  name: 'auth forgot',
  summary: 'have the mail sent with which you set a new password',
  usage: 'LOGIN',
  notes: ['LOGIN is a user name or an email address. The answer is the same whether or not there is such an account.'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const client = await connectPublicly(context)
    await client.call(requestPasswordReset, { body: { login: context.arguments[0] ?? '' } })
    return { json: { requested: true }, lines: ['If there is such an account, the mail is on its way.'] }
  },
})
