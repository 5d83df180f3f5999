import { createHash, hash, timingSafeEqual } from 'node:crypto'

const digestBytes = 32
const fieldPattern = /^sha-256=:([A-Za-z0-9+/]{43}=):$/

/** The `Content-Digest` field value of a whole body (RFC 9530), always SHA-256; an empty body has one too. */
export function contentDigest(body: Uint8Array): string {
  return `sha-256=:${hash('sha256', body, 'base64')}:`
}

/** The same of a body whose SHA-256 (hex) is known. */
export function contentDigestOf(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new RangeError('the digest is not SHA-256 in hex')
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`
}

/**
 * Digest bytes of a `Content-Digest` value, or undefined unless it is exactly one canonical SHA-256 member: a second
 * algorithm, a parameter or a sloppy base64 ending is refused, so that one body has one spelling.
 */
export function parseContentDigest(value: string): Buffer | undefined {
  const encoded = fieldPattern.exec(value)?.[1]
  if (encoded === undefined) return undefined
  const digest = Buffer.from(encoded, 'base64')
  return digest.length === digestBytes && digest.toString('base64') === encoded ? digest : undefined
}

/** Whether a whole body has the digest its `Content-Digest` value states; a malformed value never matches. */
export function isContentDigest(value: string, body: Uint8Array): boolean {
  const verifier = createDigestVerifier(value)
  verifier.update(body)
  return verifier.matches()
}

export interface DigestVerifier {
  /** Takes the next bytes of the body. */
  update(chunk: Uint8Array): void
  /** Answers once, after the last byte; calling it again throws, as does a later update. */
  matches(): boolean
}

/** Checks a body against its `Content-Digest` value while it streams; nothing read may be acted upon before `matches()`. */
export function createDigestVerifier(value: string): DigestVerifier {
  const expected = parseContentDigest(value)
  const running = createHash('sha256')
  return {
    update: (chunk) => {
      running.update(chunk)
    },
    matches: () => {
      const actual = running.digest()
      return expected !== undefined && timingSafeEqual(actual, expected)
    },
  }
}
