import { listSettings } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'

export const showSettings = defineCommand({
  name: 'admin settings',
  summary: 'how the server is configured, without any secret',
  usage: '',
  options: { all: { type: 'boolean', summary: 'also what has its default' } },
  async run(context) {
    const { client } = await connect(context)
    const found = await client.call(listSettings, {})
    const shown = context.options.all ? found.items : found.items.filter(({ from }) => from !== 'default')
    const rows = shown.map(({ name, value, from }) => [name, value ?? '', from])
    return { json: found, lines: tableLines(['SETTING', 'VALUE', 'FROM'], rows, context.terminal.columns('stdout')) }
  },
})
