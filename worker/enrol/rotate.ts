import { rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { proveKeyRotation } from '@hivesync/protocol/key-rotation.ts'
import {
  type EncodedKeyPair,
  generateEncodedKeyPair,
  importPrivateKey,
  type SignatureKey,
} from '@hivesync/protocol/keys.ts'
import type { Logger } from '../logger.ts'
import type { ServerClient } from '../report/server-client.ts'
import { CallRefused } from '../report/signed-call.ts'
import { type Identity, identityFolder, storeIdentity } from './identity.ts'

/** The identity as it is now; `key` is what requests are signed with. */
export interface LiveIdentity {
  readonly workerId: string
  readonly key: SignatureKey
  readonly keys: EncodedKeyPair
}

export interface KeyRing extends LiveIdentity {
  /** Signs with another pair from now on. */
  use(keys: EncodedKeyPair): void
}

export function createKeyRing({ workerId, keys }: Identity): KeyRing {
  const present = { keys, key: importPrivateKey(keys) }
  return {
    workerId,
    get key() {
      return present.key
    },
    get keys() {
      return present.keys
    },
    use(next) {
      Object.assign(present, { keys: next, key: importPrivateKey(next) })
    },
  }
}

interface Rotation {
  dataDir: string
  identity: Identity
  ring: KeyRing
  client: ServerClient
  log: Logger
  /** Told of the identity once the new pair is on disk: a later try must use the same pair. */
  onPending: (identity: Identity) => void
}

/**
 * Replaces the key, or ends a change that a former run began; answers the identity as it is stored afterwards. The new pair
 * is on disk before the server hears of it, and the old one stays there until the server has said yes, so whatever crashes
 * or is lost on the way, one of the two is known to the server. Throws what the calls throw when the server is away: to be
 * done again later, with the same pair.
 */
export async function rotateKeys({ dataDir, identity, ring, client, log, onPending }: Rotation): Promise<Identity> {
  const { workerId } = identity
  const next = identity.nextKeys ?? generateEncodedKeyPair()
  const pending: Identity = { ...identity, nextKeys: next }
  if (identity.nextKeys === undefined) await storeIdentity(dataDir, pending)
  onPending(pending)
  const { nextKeys: _gone, ...rest } = pending
  if (await isAccepted(pending, next, ring, client)) {
    const replaced: Identity = { ...rest, keys: next }
    await storeIdentity(dataDir, replaced)
    ring.use(next)
    log.info('key_replaced', { workerId })
    return replaced
  }
  ring.use(identity.keys)
  await storeIdentity(dataDir, rest)
  log.error('key_not_replaced', { workerId, reason: 'the server refused the new key; the present one stays' })
  return rest
}

/** Whether the server knows the new key: it takes it now, or has taken it when we asked before and never heard the answer. */
async function isAccepted(identity: Identity, next: EncodedKeyPair, ring: KeyRing, client: ServerClient) {
  const { workerId, keys } = identity
  const rotation = { workerId, presentKey: keys.publicKey, newKey: next.publicKey }
  const proof = proveKeyRotation(rotation, importPrivateKey(next))
  try {
    await client.rotateKey({ publicKey: next.publicKey, proof })
    return true
  } catch (error) {
    if (!(error instanceof CallRefused)) throw error
    if (error.code === 'worker_key_refused') return false
    if (error.code !== 'signature_invalid') throw error
  }
  // The old key is good for nothing any more, so the new one must be: it was taken more than ten minutes ago.
  ring.use(next)
  try {
    await client.heartbeat({ leases: [] })
    return true
  } catch (error) {
    ring.use(keys)
    throw error
  }
}

/** Made by `hivesync worker rotate-key` for the worker that runs. */
const requestPath = (dataDir: string) => join(identityFolder(dataDir), 'rotate-requested')

export async function requestRotation(dataDir: string): Promise<void> {
  await writeFile(requestPath(dataDir), '', { mode: 0o600 })
}

export async function isRotationRequested(dataDir: string): Promise<boolean> {
  try {
    await stat(requestPath(dataDir))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}

export async function forgetRotationRequest(dataDir: string): Promise<void> {
  await rm(requestPath(dataDir), { force: true })
}
