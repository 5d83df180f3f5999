import type { Keyring } from '../platform/crypto/keyring.ts'

export interface Grant {
  artifactId: string
  method: 'GET' | 'HEAD'
  /** Epoch seconds. */
  expires: number
}

/** Path and query of a link that grants just this. */
export function signedTarget(keyring: Keyring, grant: Grant): string {
  const { artifactId, method, expires } = grant
  const signature = keyring.mac('artifact-url', canonical(grant))
  return `/api/v1/artifacts/${artifactId}/content?method=${method}&expires=${expires}&signature=${signature}`
}

/** Whether the signature was made for exactly this grant, and its time is not over. */
export function isGranted(keyring: Keyring, grant: Grant, signature: string, nowMs: number): boolean {
  return keyring.verifyMac('artifact-url', canonical(grant), signature) && grant.expires * 1000 > nowMs
}

// None of the members can hold a line break, so no two grants are written alike.
function canonical({ artifactId, method, expires }: Grant): string {
  return ['artifact-content', method, artifactId, String(expires)].join('\n')
}
