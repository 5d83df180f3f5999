// A passkey device in software: real keys, real signatures, and every field in reach, so that tests can be the attacker too.
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { NewPasskey, NewPasskeyChallenge, PasskeyChallenge, UsedPasskey } from '@hivesync/contracts/mfa.ts'

/** What the device or the browser says otherwise than a good one would. */
export interface Lie {
  origin?: string
  rpId?: string
  type?: string
  challenge?: string
  userVerified?: boolean
  userPresent?: boolean
  counter?: number
  userHandle?: string | null
  /** Signs with a key that is not the passkey's. */
  otherKey?: boolean
  fmt?: string
  attStmt?: Uint8Array
}

export interface SoftPasskey {
  readonly id: string
  /** The answer of `navigator.credentials.get` to these options. */
  use(options: PasskeyChallenge['publicKey'], lie?: Lie): UsedPasskey
}

/** A device at one origin; synced passkeys count nothing: their counter stays 0. */
export function createAuthenticator(origin: string, { isSynced = false }: { isSynced?: boolean } = {}) {
  /** The answer of `navigator.credentials.create`, and the passkey itself. */
  function create(
    options: NewPasskeyChallenge['publicKey'],
    lie: Lie & { id?: Buffer } = {},
  ): { credential: NewPasskey; passkey: SoftPasskey } {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const id = lie.id ?? randomBytes(32)
    const authData = Buffer.concat([
      authenticatorData(lie.rpId ?? options.rp.id, flagsOf(lie) | 0x40, isSynced ? 0 : (lie.counter ?? 0)),
      Buffer.alloc(16),
      Buffer.from([id.length >> 8, id.length & 0xff]),
      id,
      coseKey(publicKey),
    ])
    const clientData = clientDataOf('webauthn.create', options.challenge, origin, lie)
    const attestation = Buffer.concat([
      Buffer.from([0xa3]),
      cborText('fmt'),
      cborText(lie.fmt ?? 'none'),
      cborText('attStmt'),
      lie.attStmt ?? Buffer.from([0xa0]),
      cborText('authData'),
      cborBytes(authData),
    ])
    const credential: NewPasskey = {
      id: id.toString('base64url'),
      rawId: id.toString('base64url'),
      type: 'public-key',
      authenticatorAttachment: 'platform',
      clientExtensionResults: { credProps: { rk: true } },
      response: {
        clientDataJSON: clientData.toString('base64url'),
        attestationObject: attestation.toString('base64url'),
        authenticatorData: authData.toString('base64url'),
        publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64url'),
        publicKeyAlgorithm: -7,
        transports: ['internal', 'hybrid'],
      },
    }
    return { credential, passkey: passkeyOf(id, privateKey, options.user.id) }
  }

  function passkeyOf(id: Buffer, privateKey: KeyObject, userHandle: string): SoftPasskey {
    let counter = 0
    return {
      id: id.toString('base64url'),
      use(options, lie = {}) {
        counter = isSynced ? 0 : (lie.counter ?? counter + 1)
        const authData = authenticatorData(lie.rpId ?? options.rpId, flagsOf(lie), counter)
        const clientData = clientDataOf('webauthn.get', options.challenge, origin, lie)
        const key = lie.otherKey ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey : privateKey
        const signature = sign('sha256', Buffer.concat([authData, sha256(clientData)]), key)
        const handle = lie.userHandle === undefined ? userHandle : lie.userHandle
        return {
          id: id.toString('base64url'),
          rawId: id.toString('base64url'),
          type: 'public-key',
          authenticatorAttachment: 'platform',
          clientExtensionResults: {},
          response: {
            clientDataJSON: clientData.toString('base64url'),
            authenticatorData: authData.toString('base64url'),
            signature: signature.toString('base64url'),
            userHandle: handle,
          },
        }
      },
    }
  }
  return { create }
}

/** WebAuthn Level 3 §6.1: user present, user verified, and what a synced passkey says of itself. */
function flagsOf({ userPresent = true, userVerified = true }: Lie): number {
  return (userPresent ? 0x01 : 0) | (userVerified ? 0x04 : 0)
}

function authenticatorData(rpId: string, flags: number, counter: number): Buffer {
  const tail = Buffer.alloc(5)
  tail.writeUInt8(flags, 0)
  tail.writeUInt32BE(counter, 1)
  return Buffer.concat([sha256(Buffer.from(rpId)), tail])
}

function clientDataOf(type: string, challenge: string, origin: string, lie: Lie): Buffer {
  const said = { type: lie.type ?? type, challenge: lie.challenge ?? challenge, origin: lie.origin ?? origin }
  return Buffer.from(JSON.stringify({ ...said, crossOrigin: false }))
}

/** RFC 9053 §7.1.1: an ES256 key, as the five pairs 1: 2, 3: -7, -1: 1, -2: x, -3: y. */
function coseKey(publicKey: KeyObject): Buffer {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const [xBytes, yBytes] = [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  const head = Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21])
  return Buffer.concat([head, cborBytes(xBytes), Buffer.from([0x22]), cborBytes(yBytes)])
}

function cborText(text: string): Buffer {
  return Buffer.concat([cborHead(0x60, text.length), Buffer.from(text)])
}

function cborBytes(bytes: Buffer): Buffer {
  return Buffer.concat([cborHead(0x40, bytes.length), bytes])
}

function cborHead(major: number, length: number): Buffer {
  if (length < 24) return Buffer.from([major | length])
  if (length < 256) return Buffer.from([major | 24, length])
  return Buffer.from([major | 25, length >> 8, length & 0xff])
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
