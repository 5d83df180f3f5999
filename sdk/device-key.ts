import { encodeBase64url, hashText } from './base64url.ts'

/** A key of this device: whoever copies the tokens of a session that is bound to it, without the key, has nothing. */
export interface DeviceKey {
  /** The header `DPoP` for one request: good once and for a minute. `token` is what goes along, if anything does. */
  prove(request: { method: string; url: string; token?: string }): Promise<string>
}

/** An Ed25519 key pair in the form in which it can be kept (RFC 8037 §2): `d` is the private half. */
export interface DeviceJwk {
  kty: 'OKP'
  crv: 'Ed25519'
  x: string
  d: string
}

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>
export interface DeviceKeyPair {
  privateKey: CryptoKey
  publicKey: CryptoKey
}

/** Makes proofs (RFC 9449 §4.2) with an Ed25519 or P-256 key pair, which need not be extractable. `now` in epoch milliseconds. */
export function deviceKeyOf(pair: DeviceKeyPair, now: () => number): DeviceKey {
  const { privateKey, publicKey } = pair
  const isEd25519 = privateKey.algorithm.name === 'Ed25519'
  return {
    async prove({ method, url, token }) {
      const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', publicKey)
      const jwk = { kty, crv, x, ...(y === undefined ? {} : { y }) }
      const claims = {
        jti: encodeBase64url(crypto.getRandomValues(new Uint8Array(16))),
        htm: method,
        htu: url,
        iat: Math.floor(now() / 1000),
        ...(token === undefined ? {} : { ath: await hashText(token) }),
      }
      const header = { typ: 'dpop+jwt', alg: isEd25519 ? 'EdDSA' : 'ES256', jwk }
      const signed = `${encodeJson(header)}.${encodeJson(claims)}`
      const how = isEd25519 ? 'Ed25519' : { name: 'ECDSA', hash: 'SHA-256' }
      const signature = await crypto.subtle.sign(how, privateKey, new TextEncoder().encode(signed))
      return `${signed}.${encodeBase64url(new Uint8Array(signature))}`
    },
  }
}

/** A new key for a device that has nowhere better to keep it than beside the tokens. */
export async function generateDeviceJwk(): Promise<DeviceJwk> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
  if (!('privateKey' in pair)) throw new Error('Ed25519 gave no pair of keys')
  const { x = '', d = '' } = await crypto.subtle.exportKey('jwk', pair.privateKey)
  return { kty: 'OKP', crv: 'Ed25519', x, d }
}

/** Opens a kept key; throws when it is none. */
export async function importDeviceJwk(jwk: DeviceJwk): Promise<DeviceKeyPair> {
  const { d: _, ...publicJwk } = jwk
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']),
    crypto.subtle.importKey('jwk', publicJwk, 'Ed25519', true, ['verify']),
  ])
  return { privateKey, publicKey }
}

/** The server's public address as its access token states it; undefined when that cannot be read. Believed for nothing but what proofs must name. */
export function issuerOf(accessToken: string): string | undefined {
  try {
    const payload = (accessToken.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')
    const claims: unknown = JSON.parse(atob(payload))
    const issuer = typeof claims === 'object' && claims !== null && 'iss' in claims ? claims.iss : undefined
    return typeof issuer === 'string' && URL.canParse(issuer) ? issuer : undefined
  } catch {
    return undefined // no JWT of the form we know
  }
}

function encodeJson(value: unknown): string {
  return encodeBase64url(new TextEncoder().encode(JSON.stringify(value)))
}
