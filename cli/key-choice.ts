import { type ApiKey, listApiKeys } from '@hivesync/contracts/api-keys.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'

/** The account's live key with that id, or the one key with that name that has not been replaced. */
export async function requireKey(client: Client, named: string): Promise<ApiKey> {
  const { items } = await listAll((cursor) => client.call(listApiKeys, { query: { limit: '200', cursor } }))
  const byId = items.find((key) => key.id === named)
  if (byId !== undefined) return byId
  const matches = items.filter((key) => key.name === named && key.replacedBy === null)
  const [first] = matches
  if (first === undefined) {
    throw new CliError('api_key_not_found', 'notFound', `There is no key ${named}`, 'See: hivesync key ls')
  }
  if (matches.length === 1) return first
  throw usageError(`${matches.length} keys are called ${named}`, `Use an id: ${matches.map(({ id }) => id).join(', ')}`)
}
