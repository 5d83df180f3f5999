import { createPublicKey } from 'node:crypto'
import { calculateJwkThumbprint, errors, type JWTPayload, jwtVerify } from 'jose'
import { decodeBase64url, sha256Hex } from './hash.ts'
import { readJoseHeader } from './jose-header.ts'

const proofType = 'dpop+jwt' // RFC 9449 §4.2
const maxProofLength = 2048
/** How far the device's clock and ours may be apart: RFC 9449 §11.1 speaks of seconds or minutes. */
export const proofToleranceSeconds = 60
const nonceIdPattern = /^[\x21-\x7e]{16,200}$/

/** The public keys a device may have: the algorithm follows from the key, never from what the proof would like (RFC 8725 §3.1). */
const keyForms = [
  { kty: 'OKP', crv: 'Ed25519', coordinates: ['x'], algorithms: ['EdDSA', 'Ed25519'] },
  { kty: 'EC', crv: 'P-256', coordinates: ['x', 'y'], algorithms: ['ES256'] },
] as const

/** What a proof must have been made for. */
export interface ProofTarget {
  /** The HTTP method. */
  method: string
  /** Scheme, host, port and path, as the device must have written them. */
  url: string
  /** Base64url SHA-256 of the token that goes along; undefined where none does. */
  tokenHash?: string | undefined
}

export interface DeviceProof {
  /** The RFC 7638 thumbprint of the key that signed. */
  thumbprint: string
  /** Stands for this proof and no other, whatever its signature is spelled like; who keeps it refuses the proof a second time. */
  nonce: string
  issuedAtMs: number
}

export type ProofRefusal = 'malformed' | 'key' | 'signature' | 'target' | 'token' | 'stale'

/** A device proof was refused. */
export class DeviceProofRefused extends Error {
  override name = 'DeviceProofRefused'
  readonly reason: ProofRefusal
  constructor(reason: ProofRefusal) {
    super(`device proof refused: ${reason}`)
    this.reason = reason
  }
}

/**
 * Reads a DPoP proof (RFC 9449 §4.3): signed by the public key in its own header, for this method, address and token, within a
 * minute. Proves that the sender holds the key and nothing about whose it is; says nothing about replay: keep the nonce for that.
 * Throws `DeviceProofRefused`.
 */
export async function verifyDeviceProof(text: string, target: ProofTarget, nowMs: number): Promise<DeviceProof> {
  const { jwk, algorithm } = readKey(text)
  const payload = await verifySignature(text, jwk, algorithm, nowMs)
  const { htm, htu, jti, iat, ath } = payload
  if (typeof jti !== 'string' || !nonceIdPattern.test(jti) || !Number.isSafeInteger(iat))
    throw new DeviceProofRefused('malformed')
  if (htm !== target.method || htu !== target.url) throw new DeviceProofRefused('target')
  // In both directions: a proof made with a token must not pass where none goes along.
  if (ath !== target.tokenHash) throw new DeviceProofRefused('token')
  const issuedAtMs = Number(iat) * 1000
  if (Math.abs(nowMs - issuedAtMs) > proofToleranceSeconds * 1000) throw new DeviceProofRefused('stale')
  const thumbprint = await calculateJwkThumbprint(jwk)
  // The id of the proof and its key: nobody uses up the ids of another's.
  return { thumbprint, nonce: sha256Hex(`${thumbprint}\n${jti}`), issuedAtMs }
}

/** The public half alone, member by member: no private one, no certificate, no address, nothing that others might read differently. */
function readKey(text: string): { jwk: Record<string, string>; algorithm: string } {
  const header = readJoseHeader(text, maxProofLength)
  if (header === undefined) throw new DeviceProofRefused('malformed')
  const { typ, alg, jwk, ...others } = header
  if (typ !== proofType || Object.keys(others).length > 0) throw new DeviceProofRefused('malformed')
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw new DeviceProofRefused('key')
  const members = jwk as Record<string, unknown>
  const form = keyForms.find(({ kty, crv }) => kty === members.kty && crv === members.crv)
  const algorithm = form?.algorithms.find((name) => name === alg)
  if (form === undefined || algorithm === undefined) throw new DeviceProofRefused('key')
  if (Object.keys(members).length !== 2 + form.coordinates.length) throw new DeviceProofRefused('key')
  const key: Record<string, string> = { kty: form.kty, crv: form.crv }
  for (const name of form.coordinates) {
    const value = members[name]
    // In its one spelling: a key has one thumbprint.
    if (typeof value !== 'string' || decodeBase64url(value)?.length !== 32) throw new DeviceProofRefused('key')
    key[name] = value
  }
  return { jwk: key, algorithm }
}

async function verifySignature(
  text: string,
  jwk: Record<string, string>,
  algorithm: string,
  nowMs: number,
): Promise<JWTPayload> {
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const { payload } = await jwtVerify(text, key, {
      algorithms: [algorithm],
      typ: proofType,
      currentDate: new Date(nowMs),
    })
    return payload
  } catch (error) {
    if (error instanceof errors.JOSEError) throw new DeviceProofRefused('signature')
    // A point that is not on its curve.
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_CRYPTO_'))
      throw new DeviceProofRefused('key')
    throw error
  }
}
