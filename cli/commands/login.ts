import { getMe } from '@hivesync/contracts/accounts.ts'
import { type Client, HiveSyncError } from '@hivesync/sdk'
import { defineCommand, type Outcome } from '../command.ts'
import { connect, defaultServer, openClient, type Workbench, withoutSlash } from '../context.ts'
import { usageError } from '../failure.ts'
import { ask, askSecret, readSecretLine } from '../prompt.ts'
import { rememberServer, signIn } from '../sign-in.ts'

export const login = defineCommand({
  name: 'login',
  summary: 'log in, and keep the session for the next commands',
  usage: '',
  notes: [
    'Asks for the server, the login and the password; nothing typed for the password is shown.',
    'In scripts: HIVESYNC_CLI_TOKEN with an API key needs no login at all.',
    'Credentials are kept in a file that only you can read (0600).',
  ],
  options: {
    login: { type: 'string', short: 'l', value: 'LOGIN', summary: 'user name or email address' },
    'password-stdin': { type: 'boolean', summary: 'read the password from standard input' },
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
    if (options['with-token'] && (options['password-stdin'] || options.login !== undefined)) {
      throw usageError('--with-token stands alone: a key needs neither login nor password')
    }
    // A store that cannot keep the credentials is found out before anyone types them.
    await profileFile.probe()
    const client = await chooseServer(context)
    if (options['with-token']) return keepKey(context, client, await readSecretLine(context, 'The API key'))
    const name = options.login ?? (await ask(context, 'Login', 'Say --login LOGIN --password-stdin, or --with-token'))
    const password = options['password-stdin']
      ? await readSecretLine(context, 'The password')
      : await askSecret(context, 'Password', 'Say --password-stdin')
    const reply = await signIn(context, client, { login: name, password })
    return loggedIn(context, client.server, reply.user.username)
  },
})

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
  return loggedIn(workbench, client.server, username)
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

export function loggedIn({ profileFile }: Workbench, server: string, username: string | null): Outcome {
  return {
    json: { server, username, profile: profileFile.name, storedIn: profileFile.path },
    lines: [
      `Logged in to ${server}${username === null ? ' with an API key' : ` as ${username}`}.`,
      `The credentials are kept in ${profileFile.path}, readable only by you.`,
    ],
  }
}
