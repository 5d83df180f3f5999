import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { tableLines } from '../../../table.ts'
import { formatAge, parseCount } from '../../../units.ts'
import { findUsers } from '../../../user-choice.ts'

export const ls = defineCommand({
  name: 'admin user ls',
  summary: 'the people of this server, newest first',
  usage: '[Q]',
  notes: [
    'Q is the beginning of a user name, or a whole email address. Addresses are shown hidden but for what tells two apart.',
  ],
  options: { limit: { type: 'string', short: 'n', value: 'N', summary: 'at most so many; 200 unless given' } },
  arguments: [0, 1],
  async run(context) {
    const { terminal, machine, options } = context
    const limit = parseCount(options.limit ?? '200', '--limit', { min: 1, max: 100_000 })
    const { client } = await connect(context)
    const { items, nextCursor } = await findUsers(client, context.arguments[0], limit)
    const rows = items.map((user) => [
      user.username,
      user.isActive ? 'active' : { style: 'yellow' as const, text: 'deactivated' },
      user.isAdmin ? 'admin' : '',
      user.lastLoginAt === null ? 'never' : formatAge(user.lastLoginAt, machine.now()),
      user.id,
      user.email,
    ])
    if (rows.length === 0) await terminal.note('Nobody.')
    if (nextCursor !== null) await terminal.note('There are more: say --limit N')
    const headings = ['USER', 'STATE', '', 'LOGIN', 'ID', 'EMAIL']
    const lines = rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout'))
    return { json: { items, hasMore: nextCursor !== null }, lines }
  },
})
