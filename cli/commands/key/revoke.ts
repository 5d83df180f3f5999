import { revokeApiKey } from '@hivesync/contracts/api-keys.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireKey } from '../../key-choice.ts'

export const revoke = defineCommand({
  name: 'key revoke',
  summary: 'end an API key at once, and the jobs submitted with it',
  usage: 'KEY',
  notes: ['KEY is a name or an id.'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const key = await requireKey(client, context.arguments[0] ?? '')
    await client.call(revokeApiKey, { params: { apiKeyId: key.id } })
    return { json: { id: key.id, name: key.name, revoked: true }, lines: [`Revoked ${key.name} (${key.prefix}…).`] }
  },
})
