import { listFaults } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const listErrors = defineCommand({
  name: 'admin errors',
  summary: 'faults of the server, the latest first',
  usage: '',
  notes: [
    'Alike ones are one line. --json shows where in the program each came up, and the last request it came up in.',
  ],
  options: {},
  async run(context) {
    const { client } = await connect(context)
    const found = await client.call(listFaults, {})
    if (found.items.length === 0) await context.terminal.note('None within thirty days.')
    const rows = found.items.map((fault) => [
      formatAge(fault.lastAt, context.machine.now()),
      String(fault.count),
      fault.event,
      [fault.errorName, fault.message].filter((text) => text !== null).join(': '),
    ])
    const lines =
      rows.length === 0 ? [] : tableLines(['LAST', 'TIMES', 'EVENT', 'WHAT'], rows, context.terminal.columns('stdout'))
    return { json: found, lines }
  },
})
