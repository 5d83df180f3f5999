import { listApiKeys } from '@hivesync/contracts/api-keys.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const ls = defineCommand({
  name: 'key ls',
  summary: 'your live API keys: what they may do, how long, when last used',
  usage: '',
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listApiKeys, { query: { limit: '200', cursor } }))
    const rows = items.map((key) => [
      key.name,
      key.prefix,
      key.replacedBy === null ? '' : { style: 'yellow' as const, text: 'replaced' },
      key.lastUsedAt === null ? 'never' : formatAge(key.lastUsedAt, machine.now()),
      key.expiresAt === null ? 'never' : formatAge(key.expiresAt, machine.now()),
      `${key.rateLimitPerHour}/h`,
      key.id,
      key.projectId ?? 'all',
      key.scopes.join(' '),
    ])
    if (rows.length === 0) await terminal.note('No keys. Make one with: hivesync key create NAME --scope read')
    const headings = ['NAME', 'PREFIX', 'STATE', 'USED', 'EXPIRES', 'LIMIT', 'ID', 'PROJECT', 'SCOPES']
    return { json: { items }, lines: rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
