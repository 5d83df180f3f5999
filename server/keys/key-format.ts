import { sha256Base64url } from '../platform/crypto/hash.ts'
import type { Random } from '../platform/random.ts'

const prefixBytes = 6
const secretBytes = 32
const checksumLength = 6

/**
 * An API key: `hs_`, 8 characters that name it, 43 that hold 256 random bits, and 6 of the SHA-256 of all before them. For
 * secret scanners: `hs_[A-Za-z0-9_-]{57}`; the checksum tells a key from a text that looks like one.
 */
const pattern = /^(hs_[A-Za-z0-9_-]{51})([A-Za-z0-9_-]{6})$/

/** A new key, with the part that may be stored and shown to recognise it by. */
export function generateApiKey(random: Random): { apiKey: string; prefix: string } {
  const prefix = `hs_${Buffer.from(random.bytes(prefixBytes)).toString('base64url')}`
  const body = `${prefix}${random.token(secretBytes)}`
  return { apiKey: `${body}${checksumOf(body)}`, prefix }
}

/** Whether a text has the form and the checksum of a key: what has not is refused without asking the database. */
export function isApiKey(text: string): boolean {
  const [, body, checksum] = pattern.exec(text) ?? []
  return body !== undefined && checksumOf(body) === checksum
}

function checksumOf(body: string): string {
  return sha256Base64url(body).slice(0, checksumLength)
}
