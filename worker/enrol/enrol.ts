import { rm } from 'node:fs/promises'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import type { Clock } from '../clock.ts'
import type { WorkerConfig } from '../config.ts'
import type { Logger } from '../logger.ts'
import type { Transport } from '../report/http-transport.ts'
import { persist } from '../report/persistence.ts'
import { enrolWorker } from '../report/server-client.ts'
import { CallRefused } from '../report/signed-call.ts'
import { findIdentity, type Identity, StartRefused, storeIdentity } from './identity.ts'
import type { Random } from './random.ts'

/**
 * The identity this worker has stored, or else a new one made here and enrolled with the token. Waits for a
 * server that is away. Throws StartRefused when there is neither identity nor token, or the server refuses the token.
 */
export async function requireIdentity(options: {
  config: Pick<WorkerConfig, 'server' | 'dataDir' | 'enrolmentToken' | 'name' | 'pool'> &
    Partial<Pick<WorkerConfig, 'enrolmentTokenFile' | 'movedFrom'>>
  transport: Transport
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}): Promise<Identity> {
  const { config, transport, log } = options
  const stored = await findIdentity(config.dataDir, config.server, config.movedFrom)
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
    const { workerId, pool, reusable } = enrolled
    const ephemeral = enrolled.ephemeral && ({ ephemeral: true } as const)
    const identity: Identity = { server: config.server, workerId, name: enrolled.name, keys, ...ephemeral }
    await storeIdentity(config.dataDir, identity)
    log.info('worker_enrolled', { workerId: identity.workerId, name: identity.name, server: identity.server })
    if (pool !== null && pool !== config.pool)
      log.warn('pool_given', {
        name: pool,
        detail: `bound to this pool, not to ${config.pool} of HIVESYNC_WORKER_POOL`,
      })
    // That of a fleet is for the next one, too.
    if (config.enrolmentTokenFile && !reusable) await removeUsed(config.enrolmentTokenFile, log)
    return identity
  } catch (error) {
    if (!(error instanceof CallRefused)) throw error
    const what =
      error.code === 'invalid_enrolment_token'
        ? 'The enrolment token is wrong, used or expired, or revoked'
        : error.message
    throw new StartRefused(`${what}: make a new one with \`hivesync worker enrol\``)
  }
}

/** The token has done its work. Where the file cannot be removed, as a secret mounted into a container, it is worthless from now on. */
async function removeUsed(path: string, log: Logger): Promise<void> {
  try {
    await rm(path)
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    log.info('token_file_kept', { reason, detail: 'the enrolment token in it is used and opens nothing any more' })
  }
}
