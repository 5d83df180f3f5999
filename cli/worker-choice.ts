import { listWorkers } from '@hivesync/contracts/workers.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'

/** The worker with that id, or the one live worker with that name. */
export async function requireWorker(client: Client, named: string): Promise<{ id: string; name: string }> {
  const { items } = await listAll((cursor) => client.call(listWorkers, { query: { limit: '200', cursor } }))
  const byId = items.find((worker) => worker.id === named)
  if (byId !== undefined) return byId
  const matches = items.filter((worker) => worker.name === named && worker.state !== 'revoked')
  const [first] = matches
  if (first === undefined) {
    throw new CliError('worker_not_found', 'notFound', `There is no worker ${named}`, 'See: hivesync worker ls')
  }
  if (matches.length === 1) return first
  throw usageError(
    `${matches.length} workers are called ${named}`,
    `Use an id: ${matches.map((worker) => worker.id).join(', ')}`,
  )
}
