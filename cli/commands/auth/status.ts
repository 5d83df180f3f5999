import { getMe } from '@hivesync/contracts/accounts.ts'
import { listSessions, type Session } from '@hivesync/contracts/sessions.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { CliError } from '../../failure.ts'
import { fieldLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const status = defineCommand({
  name: 'auth status',
  summary: 'who you are on which server, and where the credentials are kept',
  usage: '',
  options: {},
  async run(context) {
    const { profileFile, machine } = context
    const { client, server, source } = await connect(context)
    if (source === 'none') {
      throw new CliError('not_logged_in', 'denied', `Not logged in to ${server}`, 'Log in with: hivesync login')
    }
    const user = await client.call(getMe)
    // Read again: the call may have refreshed the session.
    const { credentials } = source === 'profile' ? await profileFile.read() : {}
    const session = credentials?.kind === 'session' ? credentials : undefined
    const kind = session === undefined ? 'api-key' : 'session'
    const storedIn = source === 'environment' ? 'HIVESYNC_CLI_TOKEN in the environment' : profileFile.path
    const accessExpiresAt = session === undefined ? null : new Date(session.expiresAtMs).toISOString()
    const current = session === undefined ? undefined : await findCurrent(client)
    const sessionExpiresAt = current?.expiresAt ?? session?.sessionExpiresAt ?? null
    const methods = current?.methods ?? null
    const deviceBound = current?.deviceBound ?? null
    return {
      json: {
        ...{ server, user, kind, source, storedIn, profile: profileFile.name },
        ...{ accessExpiresAt, sessionExpiresAt, methods, deviceBound },
      },
      lines: fieldLines([
        ['server', server],
        ['user', `${user.username} <${user.email}>${user.isAdmin ? ', admin' : ''}`],
        ['credentials', kind === 'session' ? 'a session' : 'an API key'],
        ['kept in', storedIn],
        [
          'session ends',
          sessionExpiresAt === null ? undefined : `${sessionExpiresAt} (${formatAge(sessionExpiresAt, machine.now())})`,
        ],
        ['proved by', methods?.join(', ')],
        [
          'device key',
          current && (current.deviceBound ? 'refreshes are proved with it' : 'none: the session is not bound'),
        ],
        [
          'access token',
          accessExpiresAt === null ? undefined : `renewed ${formatAge(accessExpiresAt, machine.now())}, by itself`,
        ],
      ]),
    }
  },
})

async function findCurrent(client: Client): Promise<Session | undefined> {
  const { items } = await listAll((cursor) => client.call(listSessions, { query: { limit: '200', cursor } }))
  return items.find(({ current }) => current)
}
