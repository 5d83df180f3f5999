import { confirmTotp, startTotp } from '@hivesync/contracts/mfa.ts'
import { type Client, HiveSyncError } from '@hivesync/sdk'
import { defineCommand } from '../../../command.ts'
import { connect, type Workbench } from '../../../context.ts'
import { usageError } from '../../../failure.ts'
import { ask } from '../../../prompt.ts'
import { recoveryLines } from '../../../recovery-lines.ts'
import { proofOptions, proveYourself } from '../../../step-up.ts'
import { bold } from '../../../terminal.ts'

const triesOnTerminal = 5

export const totp = defineCommand({
  name: 'auth mfa totp',
  summary: 'set up an authenticator app as your second factor',
  usage: '[NAME]',
  notes: [
    'Shows the secret and asks for a code of the app, on a terminal only: the app counts once it has shown that it knows the secret.',
    'With the first factor come recovery codes, alone on standard output and shown this once.',
  ],
  options: { 'password-stdin': proofOptions['password-stdin'], code: proofOptions.code },
  arguments: [0, 1],
  async run(context) {
    const { terminal } = context
    if (terminal.json || !terminal.isInputTty) {
      throw usageError('An authenticator app is set up by a person', 'Run it on a terminal, without --json')
    }
    const { client } = await connect(context)
    const [name] = context.arguments
    const body = name === undefined ? {} : { name }
    const stepUp = await proveYourself(context, client, startTotp, { body })
    const { secret, uri } = await client.call(startTotp, { body, stepUp })
    await terminal.warn(
      ['Give this secret to the app:  ', bold(secret.replace(/(.{4})(?!$)/g, '$1 '))],
      ['or open this on the phone:    ', uri],
    )
    const { factor, recoveryCodes } = await confirm(context, client)
    await terminal.note(`${factor.name} is set up: from now on a login needs its code, too.`)
    if (recoveryCodes === null) return { lines: [] }
    await terminal.note(...recoveryLines)
    return { lines: recoveryCodes }
  },
})

async function confirm(workbench: Workbench, client: Client) {
  for (let tries = 1; ; tries++) {
    const code = await ask(workbench, 'Code the app shows now', 'Run it on a terminal')
    try {
      return await client.call(confirmTotp, { body: { code } })
    } catch (error) {
      const isWrong = error instanceof HiveSyncError && error.code === 'invalid_code'
      if (!isWrong || tries === triesOnTerminal) throw error
      await workbench.terminal.warn('That code is not valid; check the clock of the phone and try again.')
    }
  }
}
