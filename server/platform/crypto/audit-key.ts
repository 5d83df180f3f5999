import { createPrivateKey, type KeyObject } from 'node:crypto'

/** Reads an Ed25519 private key in PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` writes it; undefined for anything else. */
export function readAuditKey(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey({ key: pem, format: 'pem' })
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    return undefined // no PEM, or of a kind that OpenSSL does not know
  }
}
