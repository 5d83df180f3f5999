import { listAlerts } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { tableLines } from '../../../table.ts'
import { formatAge } from '../../../units.ts'

export const listAlertCommand = defineCommand({
  name: 'admin alerts',
  summary: 'what wants a person',
  usage: '',
  notes: ['Say that you look after one: hivesync admin acknowledge ID'],
  options: { all: { type: 'boolean', summary: 'also what is over' } },
  async run(context) {
    const { options, terminal, machine } = context
    const { client } = await connect(context)
    const found = await client.call(listAlerts, { query: { limit: '200', state: options.all ? 'all' : 'open' } })
    if (found.items.length === 0) await terminal.note('Nothing.')
    const rows = found.items.map((alert) => [
      { style: alert.severity === 'critical' ? ('red' as const) : ('yellow' as const), text: alert.severity },
      formatAge(alert.raisedAt, machine.now()),
      alert.endedAt !== null ? 'over' : alert.acknowledgedAt !== null ? 'looked after' : 'open',
      alert.id,
      alert.detail,
    ])
    const lines =
      rows.length === 0
        ? []
        : tableLines(['SEVERITY', 'SINCE', 'STATE', 'ID', 'WHAT'], rows, terminal.columns('stdout'))
    return { json: found, lines }
  },
})
