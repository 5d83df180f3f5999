import { crc32 } from 'node:zlib'
import { apiKeyPattern } from '@hivesync/contracts/api-keys.ts'
import type { Config } from '../platform/config.ts'
import type { Random } from '../platform/random.ts'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const idLength = 8
/** 62^43 is a little more than 2^256. */
const secretLength = 43
const checksumLength = 6
const pattern = new RegExp(`^${apiKeyPattern}$`)

export type KeyEnvironment = 'live' | 'test'

/** A key of a production server works nowhere else, and no other key there: a leaked text says how bad it is, a copied database lets no key through. */
export function keyEnvironmentOf({ profile }: Pick<Config, 'profile'>): KeyEnvironment {
  return profile === 'production' ? 'live' : 'test'
}

/**
 * A new key: `hs_`, its environment, 8 characters that name it, 43 that hold 256 random bits, and a checksum. `prefix` is the part
 * that may be stored and shown to recognise it by.
 */
export function generateApiKey(random: Random, environment: KeyEnvironment): { apiKey: string; prefix: string } {
  const prefix = `hs_${environment}_${randomDigits(random, idLength)}`
  const body = `${prefix}${randomDigits(random, secretLength)}`
  return { apiKey: `${body}${checksumOf(body)}`, prefix }
}

/** Whether a text has the form and the checksum of a key of this environment: what has not is refused without asking the database. */
export function isApiKey(text: string, environment: KeyEnvironment): boolean {
  if (!text.startsWith(`hs_${environment}_`) || !pattern.test(text)) return false
  return checksumOf(text.slice(0, -checksumLength)) === text.slice(-checksumLength)
}

/** The environment of a key whose stored prefix this is. */
export function environmentOf(prefix: string): KeyEnvironment {
  return prefix.startsWith('hs_live_') ? 'live' : 'test'
}

// The CRC-32 of zlib, as scanners know it from other keys: it notices any one changed character for certain. It keeps mistakes out, not attackers.
function checksumOf(body: string): string {
  let rest = crc32(body)
  let text = ''
  while (text.length < checksumLength) {
    text = digits.charAt(rest % digits.length) + text
    rest = Math.floor(rest / digits.length)
  }
  return text
}

function randomDigits(random: Random, length: number): string {
  let text = ''
  while (text.length < length) {
    // Bytes from 248 on would make the first eight digits likelier than the others.
    for (const byte of random.bytes(length - text.length)) if (byte < 248) text += digits.charAt(byte % digits.length)
  }
  return text
}
