import { acknowledgeAlert } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'

export const acknowledge = defineCommand({
  name: 'admin acknowledge',
  summary: 'say that you look after an alert',
  usage: 'ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const alert = await client.call(acknowledgeAlert, { params: { alertId: context.arguments[0] ?? '' } })
    return { json: alert, lines: [`Looked after: ${alert.detail}`] }
  },
})
