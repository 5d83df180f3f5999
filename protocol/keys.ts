import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'

/** A key that signs or verifies requests; its type alone decides the algorithm. */
export type SignatureKey = KeyObject
export type SignatureAlgorithm = 'ed25519' | 'hmac-sha256'

/** Ed25519 key pair as raw 32-byte values in base64url (RFC 8032): what the worker keeps and what it enrols. */
export interface EncodedKeyPair {
  publicKey: string
  privateKey: string
}

const rawKeyPattern = /^[A-Za-z0-9_-]{43}$/
const minSecretBytes = 32 // as long as the MAC's output, RFC 2104 §3

/**
 * The y coordinates (little-endian, sign bit cleared) of the curve's points of order 1, 2, 4 and 8, with their
 * non-canonical spellings. With such a public key anyone can write signatures that fit many messages; OpenSSL 3.5 was seen
 * to refuse them when verifying, but does not promise to.
 */
const smallOrderPoints = new Set([
  `00${'00'.repeat(31)}`,
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
])

/** Makes a new Ed25519 key pair. */
export function generateEncodedKeyPair(): EncodedKeyPair {
  const { privateKey } = generateKeyPairSync('ed25519')
  const { x, d } = privateKey.export({ format: 'jwk' })
  if (x === undefined || d === undefined) throw new Error('Ed25519 key export has no key values')
  return { publicKey: x, privateKey: d }
}

/** Reads a raw base64url Ed25519 public key; throws a RangeError for a wrong spelling and for small-order points (universal forgery). */
export function importPublicKey(encoded: string): SignatureKey {
  const raw = decodeRawKey(encoded)
  const unsigned = Buffer.from(raw)
  unsigned.writeUInt8(unsigned.readUInt8(31) & 0x7f, 31)
  if (smallOrderPoints.has(unsigned.toString('hex'))) throw new RangeError('Ed25519 public key has a small order')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: encoded }, format: 'jwk' })
}

/** Reads an Ed25519 key pair for signing; throws a RangeError when the halves do not belong together. */
export function importPrivateKey(pair: EncodedKeyPair): SignatureKey {
  decodeRawKey(pair.privateKey)
  decodeRawKey(pair.publicKey)
  const key = createPrivateKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: pair.publicKey, d: pair.privateKey },
    format: 'jwk',
  })
  // A private key joined with a foreign public key leaks the private one through its signatures (double public key oracle).
  if (createPublicKey(key).export({ format: 'jwk' }).x !== pair.publicKey) {
    throw new RangeError('Ed25519 key halves do not belong together')
  }
  return key
}

/** Wraps a shared secret of at least 32 bytes for HMAC-SHA-256; throws a RangeError for a shorter one. */
export function importSecret(secret: Uint8Array): SignatureKey {
  if (secret.byteLength < minSecretBytes) throw new RangeError(`HMAC secret is shorter than ${minSecretBytes} bytes`)
  return createSecretKey(secret)
}

/** The one algorithm a key may be used with; throws for any other kind of key. */
export function getKeyAlgorithm(key: SignatureKey): SignatureAlgorithm {
  if (key.type === 'secret') return 'hmac-sha256'
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519'
  throw new TypeError('signature keys are Ed25519 or HMAC-SHA-256')
}

function decodeRawKey(encoded: string): Buffer {
  const raw = Buffer.from(encoded, 'base64url')
  if (!rawKeyPattern.test(encoded) || raw.toString('base64url') !== encoded) {
    throw new RangeError('Ed25519 key is not 32 bytes of canonical base64url')
  }
  return raw
}
