import { listSessions } from '@hivesync/contracts/sessions.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const sessions = defineCommand({
  name: 'auth sessions',
  summary: 'where you are logged in; the star marks this session',
  usage: '',
  notes: ['Of an address only the network part is kept. BOUND: a refresh must be proved with a key of the device.'],
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listSessions, { query: { limit: '200', cursor } }))
    const rows = items.map((session) => [
      session.current ? '*' : '',
      session.id,
      formatAge(session.lastSeenAt, machine.now()),
      formatAge(session.expiresAt, machine.now()),
      session.methods.join(' '),
      session.deviceBound ? 'yes' : 'no',
      session.ip ?? '',
      session.deviceName ?? session.userAgent ?? '',
    ])
    const headings = ['', 'ID', 'SEEN', 'ENDS', 'BY', 'BOUND', 'FROM', 'DEVICE']
    return { json: { items }, lines: tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
