import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { startStepUp, stepUp } from '@hivesync/contracts/mfa.ts'
import { type Client, describeAct, HiveSyncError } from '@hivesync/sdk'
import { askCode, codeOption, type GivenCode, hasCodes, readCode } from './codes.ts'
import type { Workbench } from './context.ts'
import { CliError, usageError } from './failure.ts'
import { askSecret, readSecretLine } from './prompt.ts'

/** How the person is proved where a command needs it; without these options the terminal asks. */
export const proofOptions = {
  'password-stdin': { type: 'boolean', summary: 'prove yourself with the password, read from standard input' },
  code: { ...codeOption, summary: `prove yourself with ${codeOption.summary}` },
} as const

export interface GivenProof {
  'password-stdin': boolean
  code: string | undefined
}

const triesOnTerminal = 3
type Proof = GivenCode | { method: 'password'; password: string }

/**
 * Gets the proof that a sensitive operation needs, for exactly this call (requirement A8): by the options, or by asking on the terminal, up to
 * three times. Which proof it must be, the server says. In scripts without the options it refuses and sends nothing sensitive.
 */
export async function proveYourself(
  workbench: Workbench & { options: GivenProof },
  client: Client,
  endpoint: Endpoint & { stepUp: true },
  input: { params?: object; body?: object } = {},
): Promise<string> {
  const { options, terminal } = workbench
  const act = await describeAct(endpoint, input)
  const { methods } = await client.call(startStepUp, { body: act })
  const isAsking = options.code === undefined && !options['password-stdin']
  for (let tries = 1; ; tries++) {
    const proof = await readProof(workbench, methods)
    try {
      return (await client.call(stepUp, { body: { ...act, ...proof } })).stepUpToken
    } catch (error) {
      const isWrong = error instanceof HiveSyncError && error.code === 'step_up_failed'
      if (!isWrong || !isAsking || tries === triesOnTerminal) throw error
      await terminal.warn('That was not right; try again.')
    }
  }
}

async function readProof(workbench: Workbench & { options: GivenProof }, methods: readonly string[]): Promise<Proof> {
  const { options } = workbench
  if (options.code !== undefined) {
    if (hasCodes(methods)) return readCode(options.code)
    if (methods.includes('password')) {
      throw usageError('This account proves itself with its password', 'Say --password-stdin instead')
    }
  }
  if (methods.includes('password')) {
    const password = options['password-stdin']
      ? await readSecretLine(workbench, 'The password')
      : await askSecret(workbench, 'Your password to confirm', 'Say --password-stdin')
    return { method: 'password', password }
  }
  if (methods.length === 0) {
    throw new CliError(
      'step_up_impossible',
      'denied',
      'This account has nothing to prove itself with',
      'Set a password first, with the mail of: hivesync auth forgot LOGIN',
    )
  }
  // Who has a second factor proves that one, also with --password-stdin: the password may be what was stolen.
  return askCode(workbench, methods)
}
