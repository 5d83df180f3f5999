import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { isPassing, persist } from '../report/persistence.ts'
import type { ServerClient } from '../report/server-client.ts'
import type { Identity } from './identity.ts'
import type { Random } from './random.ts'
import { forgetRotationRequest, isRotationRequested, type KeyRing, rotateKeys } from './rotate.ts'

/** A change of the key that failed is not tried again before this. */
const retryMs = 60_000

export interface FreshKeys {
  /** Replaces the key; what stands in the way is logged, and the next occasion tries again. */
  change(): Promise<void>
  /** The same when `hivesync worker rotate-key` has asked for it on this machine. */
  changeIfRequested(): Promise<void>
}

/** Ends a change of the key that a former run began, waiting for a server that is away; then changes it whenever it is due. */
export async function keepKeysFresh(options: {
  dataDir: string
  identity: Identity
  ring: KeyRing
  client: ServerClient
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}): Promise<FreshKeys> {
  const { dataDir, clock, log } = options
  let identity = options.identity
  let failedAtMs: number | undefined
  const rotate = async (): Promise<void> => {
    identity = await rotateKeys({ ...options, identity, onPending: (pending) => (identity = pending) })
    await forgetRotationRequest(dataDir)
  }
  if (identity.nextKeys !== undefined && !options.signal.aborted)
    await persist(rotate, {
      ...options,
      onSetback: (error) => log.warn('key_change_waits', { reason: String(error) }),
    }).catch((error: unknown) => {
      if (!options.signal.aborted) throw error
    })

  async function change(): Promise<void> {
    if (failedAtMs !== undefined && clock.monotonicMs() - failedAtMs < retryMs) return
    try {
      await rotate()
      failedAtMs = undefined
    } catch (error) {
      failedAtMs = clock.monotonicMs()
      if (isPassing(error)) log.warn('key_change_waits', { reason: String(error) })
      else log.error('key_not_replaced', {}, error)
    }
  }
  return {
    change,
    async changeIfRequested() {
      if (await isRotationRequested(dataDir)) await change()
    },
  }
}
