import { acceptInvitation } from '@hivesync/contracts/teams.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const join = defineCommand({
  name: 'team join',
  summary: 'join the team you were invited to',
  usage: 'LINK',
  notes: [
    'LINK is that of the mail, or the token at its end. Your account must have proved the address it was sent to.',
  ],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const invitation = (context.arguments[0] ?? '').replace(/^.*#/, '').replace(/^invitation=/, '')
    const { client } = await connect(context)
    const team = await client.call(acceptInvitation, { body: { invitation } })
    return { json: team, lines: [`You are ${team.role} of ${team.name} now.`] }
  },
})
