import { testWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

export const sendTest = defineCommand({
  name: 'webhook test',
  summary: 'send the event webhook.test to a webhook, as a real delivery',
  usage: 'WEBHOOK',
  options: { team: teamOption },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, context.arguments[0] ?? '')
    const delivery = await client.call(testWebhook, { params })
    const hint = `See what comes of it: hivesync webhook deliveries ${params.webhookId} ${delivery.id}`
    await context.terminal.note(hint)
    return { json: delivery, lines: [`Delivery ${delivery.id} is on its way as ${delivery.messageId}.`] }
  },
})
