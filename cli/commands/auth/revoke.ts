import { revokeOtherSessions, revokeSession } from '@hivesync/contracts/sessions.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'

export const revoke = defineCommand({
  name: 'auth revoke',
  summary: 'end a session, or all but this one',
  usage: '[SESSION-ID]',
  notes: [
    'The ids are in `hivesync auth sessions`. To end this session: hivesync logout.',
    'After a theft: hivesync auth revoke --others',
  ],
  options: { others: { type: 'boolean', summary: 'end every session but this one' } },
  arguments: [0, 1],
  async run(context) {
    const [sessionId] = context.arguments
    if ((sessionId === undefined) !== context.options.others) {
      throw usageError('Which session?', 'Say a SESSION-ID of `hivesync auth sessions`, or --others')
    }
    const { client } = await connect(context)
    if (sessionId === undefined) {
      await client.call(revokeOtherSessions)
      return { json: { others: true, revoked: true }, lines: ['Every other session has ended.'] }
    }
    await client.call(revokeSession, { params: { sessionId } })
    return { json: { id: sessionId, revoked: true }, lines: [`The session ${sessionId} has ended.`] }
  },
})
