import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, errors, jwtVerify, SignJWT } from 'jose'
import { readJoseHeader } from './jose-header.ts'
import type { Keyring } from './keyring.ts'

const algorithm = 'EdDSA' // the only one, with Ed25519 keys only (RFC 8037); nothing in a token can choose another
const tokenType = 'at+jwt' // RFC 9068 §2.1
const maxTokenLength = 2048
const maxToleranceSeconds = 30
/** No access token lives longer, whatever it says. */
export const maxTokenSeconds = 60 * 60
const keyIdPattern = /^[A-Za-z0-9_-]{1,64}$/
const textPattern = /^[\x21-\x7e]{1,200}$/

/** A signing key as it is stored: the private half sealed under the keyring and bound to its key id. */
export interface SigningKeyRow {
  keyId: string
  /** Raw Ed25519 public key, base64url (the `x` of its JWK). */
  publicKey: string
  sealedPrivateKey: string
}

export interface TokenSigningKey {
  keyId: string
  privateKey: KeyObject
}

/** The keys tokens may be signed with, by key id: the previous, the current, and the next already published. */
export type TokenKeySet = ReadonlyMap<string, KeyObject>

/** Claims of an access token; times in epoch seconds. Rights are looked up live and never taken from here. */
export interface AccessTokenClaims {
  iss: string
  aud: string
  sub: string
  /** Session id. */
  sid: string
  /** Token version of the account: raised to make all its tokens worthless. */
  ver: number
  jti: string
  iat: number
  nbf: number
  exp: number
  username?: string
  role?: string
}

export type TokenRefusalCode = 'malformed' | 'unknown_key' | 'invalid' | 'expired' | 'not_yet_valid'

/** An access token was refused; the code is for log and metrics, the client hears one answer for all but `expired`. */
export class TokenRefused extends Error {
  override name = 'TokenRefused'
  readonly code: TokenRefusalCode
  constructor(code: TokenRefusalCode) {
    super(`access token refused: ${code}`)
    this.code = code
  }
}

/** Makes an Ed25519 signing key as a row to store; its id is the RFC 7638 thumbprint. */
export async function generateSigningKey(keyring: Keyring): Promise<SigningKeyRow> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  if (x === undefined) throw new Error('Ed25519 key export has no key value')
  const keyId = await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x })
  const material = privateKey.export({ format: 'der', type: 'pkcs8' })
  return { keyId, publicKey: x, sealedPrivateKey: keyring.seal('signing-key', material, keyId) }
}

/** Unseals a stored signing key; throws `SealBroken` when the row was changed, or moved under another key id. */
export function openSigningKey(keyring: Keyring, row: SigningKeyRow): TokenSigningKey {
  const material = keyring.open('signing-key', row.sealedPrivateKey, row.keyId)
  const privateKey = createPrivateKey({ key: material, format: 'der', type: 'pkcs8' })
  if (createPublicKey(privateKey).export({ format: 'jwk' }).x !== row.publicKey) {
    throw new Error('the stored halves of a signing key do not belong together')
  }
  return { keyId: row.keyId, privateKey }
}

/** Reads the public halves of stored keys into the set `verifyAccessToken` looks keys up in. */
export function openTokenKeySet(rows: readonly Omit<SigningKeyRow, 'sealedPrivateKey'>[]): TokenKeySet {
  return new Map(
    rows.map(({ keyId, publicKey }) => {
      const jwk = { kty: 'OKP', crv: 'Ed25519', x: publicKey }
      return [keyId, createPublicKey({ key: jwk, format: 'jwk' })]
    }),
  )
}

/** Signs an access token (RFC 9068). */
export async function signAccessToken(key: TokenSigningKey, claims: AccessTokenClaims): Promise<string> {
  const header = { alg: algorithm, typ: tokenType, kid: key.keyId }
  return await new SignJWT({ ...claims }).setProtectedHeader(header).sign(key.privateKey)
}

/**
 * The claims of a genuine access token of this issuer and audience; throws `TokenRefused` otherwise. Says nothing about
 * whether its session still lives. The tolerance for clocks that differ is 30 s and cannot be made larger.
 */
export async function verifyAccessToken(
  token: string,
  expected: { keys: TokenKeySet; issuer: string; audience: string; nowMs: number; toleranceSeconds?: number },
): Promise<AccessTokenClaims> {
  const tolerance = Math.min(expected.toleranceSeconds ?? maxToleranceSeconds, maxToleranceSeconds)
  const key = expected.keys.get(readKeyId(token))
  if (key === undefined) throw new TokenRefused('unknown_key')
  const { payload } = await jwtVerify(token, key, {
    algorithms: [algorithm],
    typ: tokenType,
    issuer: expected.issuer,
    audience: expected.audience,
    clockTolerance: tolerance,
    currentDate: new Date(expected.nowMs),
    requiredClaims: ['iss', 'aud', 'sub', 'sid', 'ver', 'jti', 'iat', 'nbf', 'exp'],
  }).catch((cause: unknown) => {
    throw refusalOf(cause)
  })
  if (!isAccessTokenClaims(payload)) throw new TokenRefused('invalid')
  // jose looks at iat only together with a maximum age.
  if (payload.iat > expected.nowMs / 1000 + tolerance) throw new TokenRefused('not_yet_valid')
  if (payload.exp - payload.iat > maxTokenSeconds) throw new TokenRefused('invalid')
  return payload
}

/**
 * Reads the key id out of the header, which may hold nothing but alg, typ and kid: `jwk`, `jku`, `x5c` and `x5u` would let
 * the token bring its own key, `crit` and `b64` change what is signed (RFC 8725 §3).
 */
function readKeyId(token: string): string {
  const members = readJoseHeader(token, maxTokenLength)
  if (members === undefined) throw new TokenRefused('malformed')
  const { alg, typ, kid, ...others } = members
  if (alg !== algorithm || typ !== tokenType || Object.keys(others).length > 0) throw new TokenRefused('invalid')
  // The id is looked up and nothing else: no path, no query can be made of it.
  if (typeof kid !== 'string' || !keyIdPattern.test(kid)) throw new TokenRefused('invalid')
  // In the one spelling that we write: a member named twice would be read by others as something else.
  const ours = Buffer.from(JSON.stringify({ alg, typ, kid })).toString('base64url')
  if (!token.startsWith(`${ours}.`)) throw new TokenRefused('invalid')
  return kid
}

function refusalOf(cause: unknown): unknown {
  if (cause instanceof errors.JWTExpired) return new TokenRefused('expired')
  if (cause instanceof errors.JWTClaimValidationFailed && cause.claim === 'nbf' && cause.reason === 'check_failed') {
    return new TokenRefused('not_yet_valid')
  }
  return cause instanceof errors.JOSEError ? new TokenRefused('invalid') : cause
}

function isAccessTokenClaims(payload: object): payload is AccessTokenClaims {
  const claims = payload as Record<string, unknown>
  const isText = (name: string) => typeof claims[name] === 'string' && textPattern.test(claims[name])
  const isSeconds = (name: string) => Number.isSafeInteger(claims[name]) && Number(claims[name]) >= 0
  const isOptionalText = (name: string) => claims[name] === undefined || isText(name)
  if (!['username', 'role'].every(isOptionalText)) return false
  // aud is one string: a token for several audiences is not ours (ASVS 9.2.4).
  return ['iss', 'aud', 'sub', 'sid', 'jti'].every(isText) && ['ver', 'iat', 'nbf', 'exp'].every(isSeconds)
}
