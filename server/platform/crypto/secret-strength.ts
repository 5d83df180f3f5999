import { decodeBase64url, type RandomBytes, secureRandomBytes, sha256Hex } from './hash.ts'

const minBytes = 32
const minEstimatedBits = 128
const minDistinctCharacters = 10

/** Counted anywhere and in any case: 32 random bytes in base64url hold six given letters once in 28 million. */
const longWords = (
  'change replace placeholder secret example password passwort default insecure development production ' +
  'qwerty asdfgh letmein hivesync pharos'
).split(' ')
/** Counted only between separators, where chance is as small. */
const shortWords = new Set(['test', 'demo', 'your', 'fixme', 'admin', 'sample', 'dummy', 'token'])

/** SHA-256 of decoded secrets that are printed in public documents, so that anyone can sign with them. */
const publicSecrets = new Set([
  'c8ecc9361a05e285f04c26f9572131a6deab07e9e2b865053c6f75a4d8bd2b32', // RFC 7515 A.1
  '57ca14d520f889be5bc6d9313b442f62a4a71d63fceac507c914683a8944b4a0', // RFC 9421 B.1.5
])

/** A new secret of 32 random bytes that `findSecretWeakness` accepts. */
export function generateSecret(randomBytes: RandomBytes = secureRandomBytes): string {
  for (;;) {
    const secret = Buffer.from(randomBytes(minBytes)).toString('base64url')
    if (findSecretWeakness(secret) === undefined) return secret
  }
}

/**
 * Why a secret is too weak to start with, or undefined when it will do. The text never holds the secret or a part of it,
 * so that it may be printed and logged.
 */
export function findSecretWeakness(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return 'it is missing or empty'
  if (hasPlaceholderWord(value)) return 'it contains a placeholder word'
  const bytes = decodeBase64url(value)
  if (bytes === undefined) return 'it is not canonical, unpadded base64url'
  if (bytes.length < minBytes) return `it holds fewer than ${minBytes} bytes`
  if (publicSecrets.has(sha256Hex(bytes))) return 'it is printed in a public document'
  // A phrase is often encoded to please the check before this one: look at what it decodes to as well.
  const text = bytes.toString('latin1')
  if (/^[\x20-\x7e]+$/.test(text) && hasPlaceholderWord(text)) return 'it encodes a placeholder word'
  if (isPattern(value) || isPattern(text)) {
    return 'it follows a pattern (repeated or counted characters)'
  }
  if (new Set(value).size < minDistinctCharacters || estimatedBits(value) < minEstimatedBits) {
    return 'it is not random enough'
  }
  return undefined
}

function hasPlaceholderWord(text: string): boolean {
  const lower = text.toLowerCase()
  return (
    longWords.some((word) => lower.includes(word)) || lower.split(/[^a-z0-9]+/).some((part) => shortWords.has(part))
  )
}

/** Whether the text repeats one block at least twice, or most neighbors differ by one and the same step. */
function isPattern(text: string): boolean {
  for (let period = 1; period <= text.length / 2; period++) {
    if (text.slice(period) === text.slice(0, -period)) return true
  }
  const steps = new Map<number, number>()
  for (let index = 1; index < text.length; index++) {
    const step = text.charCodeAt(index) - text.charCodeAt(index - 1)
    steps.set(step, (steps.get(step) ?? 0) + 1)
  }
  return Math.max(...steps.values()) * 2 > text.length
}

/** Shannon's estimate from the frequency of characters: about 210 bits for 32 random bytes. */
function estimatedBits(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits += count * Math.log2(text.length / count)
  return bits
}
