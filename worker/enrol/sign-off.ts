import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { persist } from '../report/persistence.ts'
import type { ServerClient } from '../report/server-client.ts'
import { CallRefused } from '../report/signed-call.ts'
import { type Identity, removeIdentity } from './identity.ts'
import type { Random } from './random.ts'

/** How long the server is asked; one that it does not reach is retired by the server. */
const patienceMs = 5_000

/**
 * Ends an ephemeral worker for good: its identity goes from the disk before the server hears of it, so that whatever crashes on the way, the next start
 * enrols anew and never comes back as a worker that is cut off. Never throws: a server that is away finds out by the silence.
 */
export async function signOff(options: {
  dataDir: string
  identity: Identity
  client: ServerClient
  clock: Clock
  random: Random
  log: Logger
}): Promise<void> {
  const { dataDir, identity, client, clock, log } = options
  const { workerId } = identity
  const late = new AbortController()
  const done = new AbortController()
  void clock.wait(patienceMs, done.signal).then(() => late.abort(new Error('the server did not answer')))
  try {
    await removeIdentity(dataDir)
    await persist(() => client.signOff({ signal: late.signal }), { ...options, signal: late.signal })
    log.info('worker_signed_off', { workerId })
  } catch (error) {
    // It heard us, and its answer was lost; or an admin was faster.
    if (error instanceof CallRefused && error.code === 'worker_revoked') log.info('worker_signed_off', { workerId })
    else log.warn('not_signed_off', { workerId, reason: String(error) })
  } finally {
    done.abort()
  }
}
