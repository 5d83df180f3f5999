import { changePassword } from '@hivesync/contracts/credentials.ts'
import { defineCommand } from '../../command.ts'
import { connect, type Workbench } from '../../context.ts'
import { askSecret, askTwice, readSecretLines } from '../../prompt.ts'

export const password = defineCommand({
  name: 'auth password',
  summary: 'change your password; every other session ends',
  usage: '',
  notes: [
    'Asks for the current password, and twice for the new one. Links and pending logins of the account are worthless then.',
    'In scripts: printf "%s\\n%s\\n" "$OLD" "$NEW" | hivesync auth password --passwords-stdin',
  ],
  options: {
    'passwords-stdin': {
      type: 'boolean',
      summary: 'read the current and the new password from standard input, a line each',
    },
  },
  async run(context) {
    const { client } = await connect(context)
    const body = context.options['passwords-stdin'] ? await readBoth(context) : await askBoth(context)
    await client.call(changePassword, { body })
    return { json: { changed: true }, lines: ['The password is changed. Every other session has ended.'] }
  },
})

async function askBoth(workbench: Workbench) {
  const instead = 'Say --passwords-stdin'
  const currentPassword = await askSecret(workbench, 'Current password', instead)
  return { currentPassword, newPassword: await askTwice(workbench, 'New password', instead) }
}

async function readBoth(workbench: Workbench) {
  const [currentPassword = '', newPassword = ''] = await readSecretLines(
    workbench,
    'the current and the new password',
    2,
  )
  return { currentPassword, newPassword }
}
