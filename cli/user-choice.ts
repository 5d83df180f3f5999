import { type ListedUser, listUsers } from '@hivesync/contracts/admin.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError } from './failure.ts'

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** The id of the person with that id, user name or email address; for admins. */
export async function requireUserId(client: Client, named: string): Promise<string> {
  if (idPattern.test(named)) return named
  const { items } = await findUsers(client, named)
  // An address is searched for as a whole; a name by how it begins.
  const found = named.includes('@')
    ? items[0]
    : items.find(({ username }) => username.toLowerCase() === named.toLowerCase())
  if (found !== undefined) return found.id
  throw new CliError('user_not_found', 'notFound', `There is no ${named}`, 'See: hivesync admin user ls')
}

export function findUsers(client: Client, q: string | undefined, limit?: number) {
  return listAll<ListedUser>((cursor) => client.call(listUsers, { query: { limit: '200', cursor, q } }), limit)
}
