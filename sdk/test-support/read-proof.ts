import assert from 'node:assert/strict'
import { encodeBase64url } from '../base64url.ts'

export interface ReadProof {
  header: { typ: string; alg: string; jwk: Record<string, string> }
  claims: Record<string, unknown>
}

/** Takes a device proof apart, as RFC 9449 §4.3 wants it checked; fails the test when its own key has not signed it. */
export async function readProof(proof: unknown): Promise<ReadProof> {
  const [header = '', claims = '', signature = '', ...rest] = String(proof).split('.')
  assert.deepEqual(rest, [])
  const read = { header: parse(header), claims: parse(claims) } as unknown as ReadProof
  const { jwk } = read.header
  const [algorithm, how] =
    jwk.kty === 'OKP'
      ? (['Ed25519', 'Ed25519'] as const)
      : ([
          { name: 'ECDSA', namedCurve: 'P-256' },
          { name: 'ECDSA', hash: 'SHA-256' },
        ] as const)
  const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['verify'])
  const signed = new TextEncoder().encode(`${header}.${claims}`)
  assert.ok(await crypto.subtle.verify(how, key, Buffer.from(signature, 'base64url'), signed))
  return read
}

/** An access token as far as a client looks into it. */
export function accessTokenFrom(issuer: string): string {
  const part = (value: unknown) => encodeBase64url(new TextEncoder().encode(JSON.stringify(value)))
  return `${part({ alg: 'EdDSA' })}.${part({ iss: issuer })}.${part('signature')}`
}

function parse(part: string): unknown {
  assert.match(part, /^[A-Za-z0-9_-]+$/)
  return JSON.parse(Buffer.from(part, 'base64url').toString())
}
