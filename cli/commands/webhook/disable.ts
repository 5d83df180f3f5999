import { updateWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

export const disable = defineCommand({
  name: 'webhook disable',
  summary: 'deliver nothing to a webhook until it is enabled; events are kept as skipped',
  usage: 'WEBHOOK',
  options: { team: teamOption },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, context.arguments[0] ?? '')
    const webhook = await client.call(updateWebhook, { params, body: { enabled: false } })
    return { json: webhook, lines: [`Disabled webhook ${webhook.id}.`] }
  },
})
