import {
  createHmac,
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signWith,
} from 'node:crypto'
import { secureRandomBytes } from './hash.ts'

const secretBytes = 32 // Standard Webhooks 1.0.0 asks for 24 to 64

/** What an endpoint's messages are signed with, as bytes to be sealed, and the half that everybody may know. */
export interface WebhookKeyMaterial {
  readonly secret: Uint8Array
  /** PKCS #8. */
  readonly privateKey: Uint8Array
  /** As receivers take it: `whpk_` and the raw Ed25519 key in base64. */
  readonly publicKey: string
}

export function generateWebhookKey(): WebhookKeyMaterial {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  if (x === undefined) throw new Error('Ed25519 key export has no key value')
  return {
    secret: secureRandomBytes(secretBytes),
    privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }),
    publicKey: `whpk_${Buffer.from(x, 'base64url').toString('base64')}`,
  }
}

/** The shared secret as receivers take it: `whsec_` and base64. */
export function encodeWebhookSecret(secret: Uint8Array): string {
  return `whsec_${Buffer.from(secret).toString('base64')}`
}

/** Signs a message by Standard Webhooks 1.0.0. */
export interface WebhookSigner {
  /** The value of `webhook-signature`: HMAC-SHA-256 (v1) and Ed25519 (v1a) of every key, newest first. */
  sign(id: string, timestampSeconds: number, body: string): string
}

/** The keys are opened once: reading one takes as long as signing with it. */
export function createWebhookSigner(keys: readonly Pick<WebhookKeyMaterial, 'secret' | 'privateKey'>[]): WebhookSigner {
  const opened = keys.map(({ secret, privateKey }): { secret: KeyObject; privateKey: KeyObject } => ({
    secret: createSecretKey(secret),
    privateKey: createPrivateKey({ key: Buffer.from(privateKey), format: 'der', type: 'pkcs8' }),
  }))
  return {
    sign(id, timestampSeconds, body) {
      const content = Buffer.from(`${id}.${timestampSeconds}.${body}`)
      return opened
        .map(({ secret, privateKey }) => {
          const shared = createHmac('sha256', secret).update(content).digest('base64')
          return `v1,${shared} v1a,${signWith(null, content, privateKey).toString('base64')}`
        })
        .join(' ')
    },
  }
}
