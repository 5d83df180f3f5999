import { rotateApiKey } from '@hivesync/contracts/api-keys.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireKey } from '../../key-choice.ts'
import { parseSeconds } from '../../units.ts'

export const rotate = defineCommand({
  name: 'key rotate',
  summary: 'make the key that takes an API key’s place, while the old one lives on for a while',
  usage: 'KEY',
  notes: [
    'KEY is a name or an id. Prints the new key alone on standard output, this once.',
    'The new key may do what the old one may, and shares its limit. Jobs submitted with the old key end with it.',
  ],
  options: {
    overlap: { type: 'string', value: 'TIME', summary: 'how long the old key lives on: 1d unless given, 0 to 7d' },
  },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal } = context
    const overlapSeconds = options.overlap === undefined ? undefined : parseSeconds(options.overlap, '--overlap')
    const { client } = await connect(context)
    const old = await requireKey(client, context.arguments[0] ?? '')
    const key = await client.call(rotateApiKey, { params: { apiKeyId: old.id }, body: { overlapSeconds } })
    await terminal.note(`Key ${key.name} (${key.id}) takes the place of ${old.id}. It is shown this once:`)
    return { json: key, lines: [key.apiKey] }
  },
})
