import { rotateSigningKeys } from '@hivesync/contracts/sessions.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { proofOptions, proveYourself } from '../../step-up.ts'
import { tableLines } from '../../table.ts'

export const rotateKeys = defineCommand({
  name: 'admin rotate-keys',
  summary: 'sign access tokens with the next key from now on',
  usage: '',
  notes: [
    'Nobody is logged out: tokens of the earlier key are good to their end. The next key must have been published for an hour.',
    '--emergency is for a key that somebody may have: every key is withdrawn, and with them every access token.',
    'Clients go on with their refresh tokens. For example: hivesync admin rotate-keys --emergency',
  ],
  options: { emergency: { type: 'boolean', summary: 'withdraw every key at once' }, ...proofOptions },
  async run(context) {
    const { options, terminal } = context
    const { client } = await connect(context)
    const body = options.emergency ? { emergency: true } : {}
    const stepUp = await proveYourself(context, client, rotateSigningKeys, { body })
    const keys = await client.call(rotateSigningKeys, { body, stepUp })
    if (!keys.rotated) await terminal.warn(`The next key is too young to sign; it may from ${keys.next.signsFrom} on.`)
    const rows = [keys.next, keys.current, ...keys.previous].map((key) => [
      key.state,
      key.signsFrom,
      key.retiresAt ?? '',
      key.id,
    ])
    return { json: keys, lines: tableLines(['STATE', 'SIGNS FROM', 'RETIRES', 'ID'], rows, terminal.columns('stdout')) }
  },
})
