import { deleteWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

export const rm = defineCommand({
  name: 'webhook rm',
  summary: 'delete a webhook with its deliveries',
  usage: 'WEBHOOK',
  options: { team: teamOption },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, context.arguments[0] ?? '')
    await client.call(deleteWebhook, { params })
    return { json: { id: params.webhookId, deleted: true }, lines: [`Deleted webhook ${params.webhookId}.`] }
  },
})
