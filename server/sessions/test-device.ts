// For tests: a device with a key of its own, and the proofs it makes.
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { randomToken, sha256Base64url } from '../platform/crypto/hash.ts'

export interface Device {
  readonly jwk: JWK
  readonly thumbprint: string
  readonly privateKey: CryptoKey
  readonly header: { alg: string; typ: string; jwk: JWK }
  /** A proof for a request to that address at that time; `claims` and `header` replace what it would say. */
  prove(
    request: { method: string; url: string; atMs: number; token?: string },
    changes?: { claims?: Record<string, unknown>; header?: Record<string, unknown> },
  ): Promise<string>
}

export async function createDevice(alg: 'ES256' | 'EdDSA' | 'Ed25519' = 'ES256'): Promise<Device> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  const header = { alg, typ: 'dpop+jwt', jwk }
  return {
    jwk,
    header,
    privateKey,
    thumbprint: await calculateJwkThumbprint(jwk),
    prove({ method, url, atMs, token }, changes = {}) {
      const claims = {
        jti: randomToken(16),
        htm: method,
        htu: url,
        iat: Math.floor(atMs / 1000),
        ...(token !== undefined && { ath: sha256Base64url(token) }),
        ...changes.claims,
      }
      return new SignJWT(claims).setProtectedHeader({ ...header, ...changes.header }).sign(privateKey)
    },
  }
}
