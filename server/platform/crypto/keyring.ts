import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { decodeBase64url } from './hash.ts'
import { findSecretWeakness } from './secret-strength.ts'

/** What a key is for. Each has its own key, so that a value made for one is worth nothing for another. */
export type Purpose =
  | 'seal'
  | 'signing-key'
  | 'refresh'
  | 'step-up'
  | 'throttle'
  | 'artifact-url'
  | 'store'
  | 'backup'
  | 'preview'
  | 'worker-callback'
  | 'webhook'
  | 'cursor'
  | 'idempotency'
  | 'audit-subject'

const version = 'v1'
const salt = 'hivesync/v1'
const keyBytes = 32
const nonceBytes = 12 // random 96-bit nonces: one key seals at most 2^32 values, NIST SP 800-38D §8.3
const tagBytes = 16
const maxSealedLength = 1024 * 1024

/** A sealed value could not be opened. The reason is for the log; the caller learns nothing about the key. */
export class SealBroken extends Error {
  readonly reason: 'malformed' | 'unknown_key' | 'tampered'
  constructor(reason: 'malformed' | 'unknown_key' | 'tampered') {
    super(`sealed value refused: ${reason}`)
    this.name = 'SealBroken'
    this.reason = reason
  }
}

export interface Keyring {
  /** Id of the secret that signs and seals now; tells nothing about it. */
  readonly currentKeyId: string
  /** Ids of all secrets that verify and open, newest first. */
  readonly keyIds: readonly string[]
  /** Encrypts under the newest secret (AES-256-GCM); `aad` names the place the value belongs to, e.g. `table:id`. */
  seal(purpose: Purpose, plaintext: string | Uint8Array, aad: string): string
  /** Opens what `seal` made with any listed secret; throws `SealBroken` for another purpose, aad, key or any changed bit. */
  open(purpose: Purpose, sealed: string, aad: string): Buffer
  /** HMAC-SHA-256 under the newest secret, as `v1.<key id>.<mac>`. Join several values with an unambiguous separator. */
  mac(purpose: Purpose, data: string | Uint8Array): string
  /** Whether `mac` was made by this purpose over `data` with any listed secret; never throws. */
  verifyMac(purpose: Purpose, data: string | Uint8Array, mac: string): boolean
}

/**
 * Opens the keyring of `HIVESYNC_SECRET`: the first secret seals and signs, all open and verify. Throws, without repeating
 * the value, when one is weak or listed twice.
 */
export function openKeyring(secrets: readonly string[]): Keyring {
  const keys = new Map(secrets.map((secret, index) => [keyIdOf(secret), decodeSecret(secret, index)]))
  const keyIds = [...keys.keys()]
  const [currentKeyId] = keyIds
  if (currentKeyId === undefined) throw new Error('the keyring needs at least one secret')
  if (keyIds.length !== secrets.length) throw new Error('the same secret is listed twice')
  const derived = new Map<string, Buffer>()

  function findKey(use: 'seal' | 'mac', purpose: Purpose, keyId: string): Buffer | undefined {
    const info = `${use}/${purpose}`
    const cached = derived.get(`${keyId}/${info}`)
    if (cached !== undefined) return cached
    const secret = keys.get(keyId)
    if (secret === undefined) return undefined
    const key = derive(secret, info, keyBytes)
    derived.set(`${keyId}/${info}`, key)
    return key
  }

  function getKey(use: 'seal' | 'mac', purpose: Purpose, keyId: string): Buffer {
    const key = findKey(use, purpose, keyId)
    if (key === undefined) throw new SealBroken('unknown_key')
    return key
  }

  return {
    currentKeyId,
    keyIds,
    seal(purpose, plaintext, aad) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', getKey('seal', purpose, currentKeyId), nonce)
      cipher.setAAD(Buffer.from(`${version}.${currentKeyId}.${aad}`))
      const body = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
      return `${version}.${currentKeyId}.${body.toString('base64url')}`
    },
    open(purpose, sealed, aad) {
      const parsed = parse(sealed)
      if (parsed === undefined || parsed.body.length < nonceBytes + tagBytes) throw new SealBroken('malformed')
      const { keyId, body } = parsed
      const key = getKey('seal', purpose, keyId)
      // The tag's length is fixed: GCM accepts shorter tags, which can be guessed.
      const decipher = createDecipheriv('aes-256-gcm', key, body.subarray(0, nonceBytes), { authTagLength: tagBytes })
      decipher.setAAD(Buffer.from(`${version}.${keyId}.${aad}`))
      decipher.setAuthTag(body.subarray(-tagBytes))
      try {
        return Buffer.concat([decipher.update(body.subarray(nonceBytes, -tagBytes)), decipher.final()])
      } catch {
        throw new SealBroken('tampered')
      }
    },
    mac(purpose, data) {
      return `${version}.${currentKeyId}.${macOf(getKey('mac', purpose, currentKeyId), data).toString('base64url')}`
    },
    verifyMac(purpose, data, mac) {
      const parsed = parse(mac)
      const key = parsed === undefined ? undefined : findKey('mac', purpose, parsed.keyId)
      if (parsed === undefined || key === undefined) return false
      const expected = macOf(key, data)
      return parsed.body.length === expected.length && timingSafeEqual(parsed.body, expected)
    },
  }
}

function decodeSecret(secret: string, index: number): Buffer {
  const weakness = findSecretWeakness(secret)
  const bytes = decodeBase64url(secret)
  if (weakness !== undefined || bytes === undefined) throw new Error(`secret ${index + 1} is refused: ${weakness}`)
  return bytes
}

/** Whether this is a value that `seal` made under a secret that is not listed: nobody here can open it. */
export function isOfUnknownSecret(keyring: Pick<Keyring, 'keyIds'>, sealed: string): boolean {
  const parsed = parse(sealed)
  return parsed !== undefined && !keyring.keyIds.includes(parsed.keyId)
}

/** Eight characters derived from the secret by HKDF: names it in stored values without revealing any of its bits. */
function keyIdOf(secret: string): string {
  return derive(Buffer.from(secret, 'base64url'), 'key-id', 6).toString('base64url')
}

function derive(secret: Uint8Array, info: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, bytes))
}

function macOf(key: Buffer, data: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function parse(value: string): { keyId: string; body: Buffer } | undefined {
  if (value.length > maxSealedLength) return undefined
  const [, keyId, encoded] = /^v1\.([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]+)$/.exec(value) ?? []
  const body = encoded === undefined ? undefined : decodeBase64url(encoded)
  return keyId === undefined || body === undefined ? undefined : { keyId, body }
}
