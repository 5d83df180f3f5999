import { type Enrolment, listEnrolments } from '@hivesync/contracts/workers.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import type { Styled } from '../../terminal.ts'
import { formatAge } from '../../units.ts'

const styles: Readonly<Record<Enrolment['state'], Styled['style']>> = {
  usable: 'green',
  used: 'dim',
  expired: 'dim',
  revoked: 'dim',
}

export const enrolments = defineCommand({
  name: 'worker enrolments',
  summary: 'the enrolment tokens, and how often each was used; admins only',
  usage: '',
  notes: [
    'The tokens themselves are stored nowhere. LIVE counts the workers of a token that are neither revoked nor gone.',
  ],
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listEnrolments, { query: { limit: '200', cursor } }))
    const rows = items.map((each) => [
      each.name ?? '',
      { style: styles[each.state], text: each.state },
      `${each.uses}/${each.maxUses}`,
      String(each.workers),
      each.pool ?? 'any',
      each.ephemeral ? 'ephemeral' : 'stay',
      formatAge(each.expiresAt, machine.now()),
      each.lastUsedAt === null ? 'never' : formatAge(each.lastUsedAt, machine.now()),
      each.teamId ?? 'all',
      each.id,
    ])
    if (rows.length === 0) await terminal.note('No enrolment tokens. Make one with: hivesync worker enrol')
    const headings = ['NAME', 'STATE', 'USES', 'LIVE', 'POOL', 'WORKERS', 'EXPIRES', 'USED', 'TEAM', 'ID']
    return { json: { items }, lines: rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
