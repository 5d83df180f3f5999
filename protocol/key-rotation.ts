import { sign, verify } from 'node:crypto'
import type { SignatureKey } from './keys.ts'

/** What the change of a worker's key is about; keys are raw Ed25519 public keys in base64url. */
export interface KeyRotation {
  workerId: string
  presentKey: string
  newKey: string
}

/**
 * The text that the new key signs. It names the worker and the key that is replaced, so that a proof fits one change of one
 * worker; it begins unlike any signature base of RFC 9421 (those begin with a quote), so that neither passes for the other.
 */
function rotationText({ workerId, presentKey, newKey }: KeyRotation): Buffer {
  return Buffer.from(`hivesync worker key rotation\n${workerId}\n${presentKey}\n${newKey}`)
}

/** Proves that whoever asks for the change holds the new key; base64url. */
export function proveKeyRotation(rotation: KeyRotation, newPrivateKey: SignatureKey): string {
  return sign(null, rotationText(rotation), newPrivateKey).toString('base64url')
}

/** Whether the proof was made with the new key for exactly this change. */
export function isKeyRotationProven(rotation: KeyRotation, proof: string, newPublicKey: SignatureKey): boolean {
  const bytes = Buffer.from(proof, 'base64url')
  if (bytes.length !== 64 || bytes.toString('base64url') !== proof) return false
  return verify(null, rotationText(rotation), newPublicKey, bytes)
}
