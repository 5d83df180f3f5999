import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { type Keyring, type Purpose, SealBroken } from './keyring.ts'

/** How much of a content one frame holds; the last one holds the rest, and may be empty. */
export const frameBytes = 64 * 1024
export const tagBytes = 16
/** The sealed key of the content: `v1.<key id>.` and 12 + 32 + 16 bytes in base64url. */
export const headerBytes = 92
const nonceBytes = 12
const keyBytes = 32

/** A key for one content alone, and the header that keeps it: sealed under HIVESYNC_SECRET, bound to the content's name. */
export function createContentKey(
  keyring: Keyring,
  name: string,
  purpose: Purpose = 'store',
): { key: Buffer; header: Buffer } {
  const key = randomBytes(keyBytes)
  return { key, header: Buffer.from(keyring.seal(purpose, key, name), 'latin1') }
}

/** Throws SealBroken for a header of another content, or of a secret that is no longer listed. */
export function readContentKey(keyring: Keyring, name: string, header: Buffer, purpose: Purpose = 'store'): Buffer {
  return keyring.open(purpose, header.toString('latin1'), name)
}

/**
 * Seals one frame (AES-256-GCM). The nonce is the frame's number and whether it is the last (the STREAM construction), and the key belongs to one content:
 * a frame that is moved, repeated, left out or cut off at the end does not open.
 */
export function sealFrame(key: Buffer, index: number, isLast: boolean, plain: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(index, isLast))
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Throws SealBroken unless this is that very frame of that content. */
export function openFrame(key: Buffer, index: number, isLast: boolean, sealed: Buffer): Buffer {
  if (sealed.length < tagBytes) throw new SealBroken('malformed')
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(index, isLast), { authTagLength: tagBytes })
  decipher.setAuthTag(sealed.subarray(-tagBytes))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -tagBytes)), decipher.final()])
  } catch {
    throw new SealBroken('tampered')
  }
}

function nonceOf(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(nonceBytes)
  nonce.writeUIntBE(index, 5, 6)
  nonce.writeUInt8(isLast ? 1 : 0, 11)
  return nonce
}
