import { rotateWebhookSecret } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { parseSeconds } from '../../units.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

export const rotate = defineCommand({
  name: 'webhook rotate',
  summary: 'make new keys for a webhook, while the old ones sign beside them for a while',
  usage: 'WEBHOOK',
  notes: ['Prints the new secret alone on standard output, this once.'],
  options: {
    grace: {
      type: 'string',
      value: 'TIME',
      summary: 'how long the old keys sign: 1d unless given, 0 ends them, 7d at most',
    },
    team: teamOption,
  },
  arguments: [1, 1],
  async run(context) {
    const { grace, team } = context.options
    const graceSeconds = grace === undefined ? undefined : parseSeconds(grace, '--grace')
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, team, context.arguments[0] ?? '')
    const webhook = await client.call(rotateWebhookSecret, { params, body: { graceSeconds } })
    await context.terminal.note(`New public key ${webhook.publicKey}. The new secret is shown this once:`)
    return { json: webhook, lines: [webhook.secret] }
  },
})
