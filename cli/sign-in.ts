import { completeMfa, type Login, logIn, type PendingMfa } from '@hivesync/contracts/sessions.ts'
import { type Client, HiveSyncError } from '@hivesync/sdk'
import { logInWithBrowser } from './browser-login.ts'
import { askCode, hasCodes, needsBrowser, readCode } from './codes.ts'
import { connect, type Workbench } from './context.ts'
import { deviceName } from './machine.ts'

const triesOnTerminal = 3

/**
 * Logs in with a password and, where the account has one, its second factor: by the code given, or by asking for it. An account whose only second
 * factor is a passkey goes through the browser.
 */
export async function logInWithPassword(
  workbench: Workbench,
  client: Client,
  who: { login: string; password: string; code?: string | undefined },
): Promise<Login> {
  const { login, password } = who
  const { profile } = await connect(workbench)
  // Only to the server that gave it.
  const token = profile.server === client.server ? profile.deviceToken : undefined
  const device = { name: deviceName(workbench.machine), token }
  const reply = await client.call(logIn, { body: { login, password, device } })
  if (!('mfaRequired' in reply)) return reply
  if (hasCodes(reply.methods)) return proveSecondFactor(workbench, client, reply, who.code)
  if (!workbench.terminal.isInputTty || workbench.terminal.json) throw needsBrowser()
  await workbench.terminal.note('This account signs in with a passkey.')
  return logInWithBrowser(workbench, client)
}

async function proveSecondFactor(
  workbench: Workbench,
  client: Client,
  { mfaToken, methods }: PendingMfa,
  given: string | undefined,
): Promise<Login> {
  for (let tries = 1; ; tries++) {
    const proof = given === undefined ? await askCode(workbench, methods) : readCode(given)
    try {
      return await client.call(completeMfa, { body: { mfaToken, ...proof } })
    } catch (error) {
      const isWrong = error instanceof HiveSyncError && error.code === 'invalid_code'
      if (!isWrong || given !== undefined || tries === triesOnTerminal) throw error
      await workbench.terminal.warn('That code is not valid, or was used already; try again.')
    }
  }
}
