import { listFactors } from '@hivesync/contracts/mfa.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { tableLines } from '../../../table.ts'
import { formatAge } from '../../../units.ts'

export const ls = defineCommand({
  name: 'auth mfa ls',
  summary: 'your second factors and passkeys, and how many recovery codes are left',
  usage: '',
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const factors = await client.call(listFactors)
    const rows = factors.items.map((factor) => [
      factor.kind,
      factor.lastUsedAt === null ? 'never' : formatAge(factor.lastUsedAt, machine.now()),
      formatAge(factor.createdAt, machine.now()),
      factor.id,
      factor.name,
    ])
    const left = factors.recoveryCodesLeft
    if (rows.length === 0)
      await terminal.note('No second factor. Set up an authenticator app with: hivesync auth mfa totp')
    else await terminal.note(`${left} recovery code${left === 1 ? '' : 's'} left.`)
    const headings = ['KIND', 'USED', 'ADDED', 'ID', 'NAME']
    return { json: factors, lines: rows.length === 0 ? [] : tableLines(headings, rows, terminal.columns('stdout')) }
  },
})
