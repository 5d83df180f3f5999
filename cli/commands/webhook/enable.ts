import { updateWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

export const enable = defineCommand({
  name: 'webhook enable',
  summary: 'deliver again to a webhook that was disabled; what was skipped meanwhile waits for a replay',
  usage: 'WEBHOOK',
  options: { team: teamOption },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, context.arguments[0] ?? '')
    const webhook = await client.call(updateWebhook, { params, body: { enabled: true } })
    return { json: webhook, lines: [`Enabled webhook ${webhook.id}.`] }
  },
})
