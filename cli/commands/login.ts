import { getMe } from '@hivesync/contracts/accounts.ts'
import { type Client, HiveSyncError } from '@hivesync/sdk'
import { logInWithBrowser } from '../browser-login.ts'
import { codeOption } from '../codes.ts'
import { defineCommand, type Outcome } from '../command.ts'
import { connect, defaultServer, openClient, type Workbench, withoutSlash } from '../context.ts'
import { usageError } from '../failure.ts'
import { keepSession, rememberServer } from '../keep-session.ts'
import { ask, askSecret, readSecretLine } from '../prompt.ts'
import { logInWithPassword } from '../sign-in.ts'

export const login = defineCommand({
  name: 'login',
  summary: 'log in, and keep the session for the next commands',
  usage: '',
  notes: [
    'Asks for the server, the login and the password; nothing typed for the password is shown.',
    'In scripts: HIVESYNC_CLI_TOKEN with an API key needs no login at all.',
    'Asks for the second factor where the account has one. With a passkey, or on a machine you would not type a password on:',
    'hivesync login --browser shows a code to enter at the server’s page in any browser; nothing is opened by itself.',
    'For example: hivesync login --server https://hive.example.net --login ada --password-stdin --code 123456 < password',
    'Credentials are kept in a file that only you can read (0600), with the key that the session is bound to.',
  ],
  options: {
    login: { type: 'string', short: 'l', value: 'LOGIN', summary: 'user name or email address' },
    'password-stdin': { type: 'boolean', summary: 'read the password from standard input' },
    code: codeOption,
    browser: { type: 'boolean', short: 'b', summary: 'log in with a browser, on this or any other device' },
    'with-token': {
      type: 'boolean',
      summary: 'read an API key from standard input and keep that instead of a session',
    },
  },
  async run(context) {
    const { options, settings, profileFile } = context
    if (settings.token !== undefined) {
      throw usageError('HIVESYNC_CLI_TOKEN is set and would be used instead of this login', 'Unset it first')
    }
    const isPassword = options['password-stdin'] || options.login !== undefined || options.code !== undefined
    if (options['with-token'] && (isPassword || options.browser)) {
      throw usageError('--with-token stands alone: a key needs neither login nor password')
    }
    if (options.browser && isPassword) throw usageError('--browser stands alone: the login is typed there')
    // A store that cannot keep the credentials is found out before anyone types them.
    await profileFile.probe()
    const client = await chooseServer(context)
    if (options['with-token']) return keepKey(context, client, await readSecretLine(context, 'The API key'))
    const session = options.browser
      ? await logInWithBrowser(context, client)
      : await logInWithPassword(context, client, await askWho(context))
    const deviceBound = await keepSession(context, client.server, session)
    return loggedIn(context, client.server, { username: session.user.username, deviceBound })
  },
})

async function askWho(
  workbench: Workbench & {
    options: { login?: string | undefined; 'password-stdin': boolean; code?: string | undefined }
  },
) {
  const { options } = workbench
  const login = options.login ?? (await ask(workbench, 'Login', 'Say --login LOGIN --password-stdin, or --with-token'))
  const password = options['password-stdin']
    ? await readSecretLine(workbench, 'The password')
    : await askSecret(workbench, 'Password', 'Say --password-stdin')
  return { login, password, code: options.code }
}

/** Asks for the server where it was not said and a person is there to be asked. */
async function chooseServer(workbench: Workbench): Promise<Client> {
  const { terminal, globals, settings } = workbench
  const { server, profile } = await connect(workbench)
  const isSaid = globals.server !== undefined || settings.server !== undefined
  if (isSaid || !terminal.isInputTty || terminal.json) return openClient(workbench, server, profile, undefined)
  const answer = withoutSlash(await ask(workbench, 'Server', 'Say --server URL', server ?? defaultServer))
  return openClient(workbench, answer, answer === server ? profile : { server: answer }, undefined)
}

async function keepKey(workbench: Workbench, client: Client, apiKey: string): Promise<Outcome> {
  const profile = rememberServer(workbench, {}, client.server)
  const username = await whoHolds(openClient(workbench, client.server, profile, { kind: 'api-key', apiKey }))
  await workbench.profileFile.update((stored) => ({
    ...rememberServer(workbench, stored, client.server),
    credentials: { kind: 'api-key', apiKey },
  }))
  return loggedIn(workbench, client.server, { username, deviceBound: false })
}

/** The key's owner; null when the server accepts the key but its scopes do not reach the account. */
async function whoHolds(client: Client): Promise<string | null> {
  try {
    return (await client.call(getMe)).username
  } catch (error) {
    if (error instanceof HiveSyncError && error.code === 'permission_denied') return null
    throw error
  }
}

export function loggedIn(
  { profileFile }: Workbench,
  server: string,
  { username, deviceBound }: { username: string | null; deviceBound: boolean },
): Outcome {
  return {
    json: { server, username, profile: profileFile.name, storedIn: profileFile.path, deviceBound },
    lines: [
      `Logged in to ${server}${username === null ? ' with an API key' : ` as ${username}`}.`,
      `The credentials are kept in ${profileFile.path}, readable only by you.`,
    ],
  }
}
