import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Transport } from '../report/http-transport.ts'
import { persist } from '../report/persistence.ts'
import { CallRefused, enrolWorker } from '../report/server-client.ts'
import { findIdentity, type Identity, StartRefused, storeIdentity } from './identity.ts'
import type { Random } from './random.ts'

/**
 * The identity this worker has stored, or else a new one made here and enrolled with the one-time token. Waits for a
 * server that is away. Throws StartRefused when there is neither identity nor token, or the server refuses the token.
 */
export async function requireIdentity(options: {
  config: { server: string; dataDir: string; enrolmentToken: string | null; name: string }
  transport: Transport
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}): Promise<Identity> {
  const { config, transport, log } = options
  const stored = await findIdentity(config.dataDir, config.server)
  if (stored !== undefined) return stored
  const { enrolmentToken, name } = config
  if (enrolmentToken === null) {
    throw new StartRefused(
      'This worker is not enrolled: make a token with `hivesync worker enrol` and set HIVESYNC_WORKER_TOKEN or HIVESYNC_WORKER_TOKEN_FILE',
    )
  }
  const keys = generateEncodedKeyPair()
  const body = { enrolmentToken, name, publicKey: keys.publicKey }
  try {
    const enrolled = await persist(() => enrolWorker(transport, body, { signal: options.signal }), {
      ...options,
      onSetback: (error, pauseMs) => log.warn('server_away', { reason: String(error), durationMs: pauseMs }),
    })
    const identity = { server: config.server, workerId: enrolled.workerId, name: enrolled.name, keys }
    await storeIdentity(config.dataDir, identity)
    log.info('worker_enrolled', { workerId: identity.workerId, name: identity.name, server: identity.server })
    return identity
  } catch (error) {
    if (!(error instanceof CallRefused)) throw error
    const what =
      error.code === 'invalid_enrolment_token' ? 'The enrolment token is wrong, used or expired' : error.message
    throw new StartRefused(`${what}: make a new one with \`hivesync worker enrol\``)
  }
}
