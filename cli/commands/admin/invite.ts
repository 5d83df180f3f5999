import { inviteToServer } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { formatAge } from '../../units.ts'

export const invite = defineCommand({
  name: 'admin invite',
  summary: 'invite somebody by mail to make an account here, in no team but their own',
  usage: 'EMAIL',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const invitation = await client.call(inviteToServer, { body: { email: context.arguments[0] ?? '' } })
    const until = formatAge(invitation.expiresAt, context.machine.now())
    return { json: invitation, lines: [`Invited ${invitation.email}; it expires ${until}.`] }
  },
})
