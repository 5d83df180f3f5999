import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { persist } from '../report/persistence.ts'
import type { ServerClient } from '../report/server-client.ts'
import { CallRefused } from '../report/signed-call.ts'
import { type Identity, StartRefused, storeIdentity } from './identity.ts'
import type { Random } from './random.ts'

/**
 * Binds an identity to the server's new address once whoever answers there has shown that it knows this worker and its key;
 * its owner has said (HIVESYNC_WORKER_MOVED_FROM) that the two addresses are one server's. Waits for a server that is away;
 * throws StartRefused when the one there does not know the worker.
 */
export async function confirmMove(options: {
  identity: Identity
  config: { server: string; dataDir: string }
  client: ServerClient
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}): Promise<Identity> {
  const { identity, config, client, log } = options
  if (identity.server === config.server) return identity
  const ask = async (): Promise<void> => {
    try {
      await client.heartbeat({ leases: [] }, { signal: options.signal })
    } catch (error) {
      if (!(error instanceof CallRefused) || error.status !== 401) throw error
      throw new StartRefused(
        `The server at ${config.server} does not know this worker (${error.code}): it is not the one at ${identity.server}, or the worker was revoked. Enrol anew with HIVESYNC_WORKER_DATA set to another folder`,
      )
    }
  }
  await persist(ask, {
    ...options,
    onSetback: (error, pauseMs) => log.warn('server_away', { reason: String(error), durationMs: pauseMs }),
  })
  const moved = { ...identity, server: config.server }
  await storeIdentity(config.dataDir, moved)
  log.info('server_moved', { workerId: identity.workerId, server: config.server })
  return moved
}
