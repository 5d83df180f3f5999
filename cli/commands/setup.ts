import { readFile } from 'node:fs/promises'
import { setUp } from '@hivesync/contracts/accounts.ts'
import { defineCommand } from '../command.ts'
import { connectPublicly } from '../context.ts'
import { usageError } from '../failure.ts'
import { keepSession } from '../keep-session.ts'
import { ask, askSecret, askTwice, readSecretLine } from '../prompt.ts'
import { logInWithPassword } from '../sign-in.ts'
import { loggedIn } from './login.ts'

export const setup = defineCommand({
  name: 'setup',
  summary: 'create the first admin with the setup token, and log in',
  usage: '',
  notes: ['The server prints the setup token at its first start; it works once.'],
  options: {
    'setup-token': { type: 'string', value: 'TOKEN', summary: 'the setup token; others on this machine may see it' },
    'setup-token-file': { type: 'string', value: 'FILE', summary: 'read the setup token from this file' },
    email: { type: 'string', value: 'EMAIL', summary: 'email address of the admin' },
    username: { type: 'string', value: 'NAME', summary: 'user name of the admin: 3 to 50 letters, digits, _ or -' },
    'password-stdin': { type: 'boolean', summary: 'read the password from standard input' },
  },
  async run(context) {
    const { options } = context
    await context.profileFile.probe()
    const client = await connectPublicly(context)
    await context.terminal.note(`Setting up ${client.server}`)
    const setupToken =
      options['setup-token'] ??
      (await readTokenFile(options['setup-token-file'])) ??
      (await askSecret(context, 'Setup token', 'Say --setup-token-file FILE'))
    const email = options.email ?? (await ask(context, 'Email', 'Say --email EMAIL'))
    const username = options.username ?? (await ask(context, 'User name', 'Say --username NAME'))
    const password = options['password-stdin']
      ? await readSecretLine(context, 'The password')
      : await askTwice(context, 'Password', 'Say --password-stdin')
    await client.call(setUp, { body: { setupToken, email, username, password } })
    const session = await logInWithPassword(context, client, { login: username, password })
    const deviceBound = await keepSession(context, client.server, session)
    return loggedIn(context, client.server, { username, deviceBound })
  },
})

async function readTokenFile(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    throw usageError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`)
  }
}
