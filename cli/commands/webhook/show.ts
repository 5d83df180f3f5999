import { getWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'
import { webhookLines } from '../../webhook-lines.ts'

export const show = defineCommand({
  name: 'webhook show',
  summary: 'one webhook: its state, filters and public keys',
  usage: 'WEBHOOK',
  notes: ['WEBHOOK is an id or an address.'],
  options: { team: teamOption },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, context.arguments[0] ?? '')
    const webhook = await client.call(getWebhook, { params })
    return { json: webhook, lines: webhookLines(webhook) }
  },
})
