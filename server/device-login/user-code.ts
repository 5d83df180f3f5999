import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Random } from '../platform/random.ts'

/** No vowels, so that no word comes up, and nothing that looks like a digit (RFC 8628 §6.1): 20^8 codes. */
const letters = 'BCDFGHJKLMNPQRSTVWXZ'
const length = 8

export function makeUserCode(random: Random): string {
  let code = ''
  // 240 is the largest multiple of 20 in a byte: above it some letters would come more often.
  while (code.length < length) {
    for (const byte of random.bytes(2 * length)) {
      if (byte < 240 && code.length < length) code += letters[byte % letters.length]
    }
  }
  return code
}

/** As it is shown: BCDF-GHJK. */
export function formatUserCode(code: string): string {
  return `${code.slice(0, length / 2)}-${code.slice(length / 2)}`
}

/** How a code is stored and looked up, however it was typed. */
export function hashUserCode(typed: string): string {
  return sha256Hex(`device\n${typed.toUpperCase().replace(/[^A-Z]/g, '')}`)
}
