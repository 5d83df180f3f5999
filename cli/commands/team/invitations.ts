import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { listOpenInvitations } from '../../invitation-choice.ts'
import { tableLines } from '../../table.ts'
import { requireTeam } from '../../team-choice.ts'
import { formatAge } from '../../units.ts'

export const invitations = defineCommand({
  name: 'team invitations',
  summary: 'the open invitations to a team',
  usage: 'TEAM',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const items = await listOpenInvitations(client, await requireTeam(client, context.arguments[0] ?? ''))
    const rows = items.map((item) => [item.email, item.role ?? '', formatAge(item.expiresAt, machine.now()), item.id])
    if (rows.length === 0) await terminal.note('No open invitations.')
    const headings = ['EMAIL', 'ROLE', 'EXPIRES', 'ID']
    return { json: { items }, lines: rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
