import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { decodeBase64url } from './hash.ts'
import { type Keyring, SealBroken } from './keyring.ts'

const keyBytes = 32
const nonceBytes = 12 // random; a key seals what is recorded of one person, far below 2^32 values (NIST SP 800-38D §8.3)
const tagBytes = 16
const prefix = 's1.'

/** A key for what is personal of one person, derived from nothing: when its last copy is deleted, what it sealed is gone. */
export function createSubjectKey(): Buffer {
  return randomBytes(keyBytes)
}

/** The key as it is stored: sealed under HIVESYNC_SECRET and bound to the person. */
export function wrapSubjectKey(keyring: Keyring, userId: string, key: Uint8Array): string {
  return keyring.seal('audit-subject', key, `audit_subjects:${userId}`)
}

/** Throws SealBroken for another person's key, and for one of a secret that is no longer listed. */
export function unwrapSubjectKey(keyring: Keyring, userId: string, sealed: string): Buffer {
  return keyring.open('audit-subject', sealed, `audit_subjects:${userId}`)
}

/** Seals a text under a person's key (AES-256-GCM), bound to the event it belongs to. */
export function sealPersonal(key: Uint8Array, text: string, eventId: string): string {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(eventId))
  const body = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
  return `${prefix}${body.toString('base64url')}`
}

/** Throws SealBroken unless it was sealed under this key for this event. */
export function openPersonal(key: Uint8Array, sealed: string, eventId: string): string {
  const body = sealed.startsWith(prefix) ? decodeBase64url(sealed.slice(prefix.length)) : undefined
  if (body === undefined || body.length < nonceBytes + tagBytes) throw new SealBroken('malformed')
  const decipher = createDecipheriv('aes-256-gcm', key, body.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(eventId))
  decipher.setAuthTag(body.subarray(-tagBytes))
  try {
    const text = Buffer.concat([decipher.update(body.subarray(nonceBytes, -tagBytes)), decipher.final()])
    return text.toString('utf8')
  } catch {
    throw new SealBroken('tampered')
  }
}
