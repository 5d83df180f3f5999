import type { NewPasskey, NewPasskeyChallenge, PasskeyChallenge, UsedPasskey } from '@hivesync/contracts/mfa.ts'
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { sha256Base64url } from './hash.ts'

/** Who relies on the passkeys: they work at these origins, under this name, and nowhere else (WebAuthn Level 3 §4, phishing resistance). */
export interface RelyingParty {
  readonly id: string
  readonly origins: readonly string[]
}

/** What is stored of a passkey; nothing of it is secret. */
export interface StoredPasskey {
  readonly publicKey: string
  readonly counter: number
  readonly transports: readonly string[]
  readonly backedUp: boolean
}

const timeoutMs = 5 * 60_000
/** COSE: Ed25519, ECDSA with P-256, RSA with SHA-256; what browsers have and this server can verify. */
const algorithms = [-8, -7, -257]

// 90 ms and 15 MB at start for what most servers use a few times a day: loaded by the first passkey.
const library = () => import('@simplewebauthn/server')
const parts = () => import('@simplewebauthn/server/helpers')

/** Options for a browser to make a passkey with; the user verification on the device is demanded, so that it is two factors by itself. */
export function passkeyCreationOptions(
  party: RelyingParty,
  challenge: Buffer,
  person: { userId: string; username: string; existing: readonly string[] },
): NewPasskeyChallenge['publicKey'] {
  return {
    rp: { id: party.id, name: 'HiveSync' },
    user: { id: handleOf(person.userId), name: person.username, displayName: person.username },
    challenge: challenge.toString('base64url'),
    pubKeyCredParams: algorithms.map((alg) => ({ type: 'public-key', alg })),
    timeout: timeoutMs,
    // What makes and models people use is not asked (and nothing of it would be believed: see `verifyNewPasskey`).
    attestation: 'none',
    excludeCredentials: person.existing.map((id) => ({ id, type: 'public-key' })),
    authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
  }
}

/** Options for a browser to use a passkey with; without credentials it offers those it has for this server. */
export function passkeyRequestOptions(
  party: RelyingParty,
  challenge: Buffer,
  credentials: readonly { id: string; transports: readonly string[] }[],
): PasskeyChallenge['publicKey'] {
  return {
    rpId: party.id,
    challenge: challenge.toString('base64url'),
    timeout: timeoutMs,
    userVerification: 'required',
    allowCredentials: credentials.map(({ id, transports }) => ({
      id,
      type: 'public-key',
      transports: [...transports],
    })),
  }
}

/** The new passkey that the browser answered with; undefined for anything that does not verify. */
export async function verifyNewPasskey(
  party: RelyingParty,
  challenge: Buffer,
  credential: NewPasskey,
): Promise<{ id: string; passkey: StoredPasskey } | undefined> {
  const { verifyRegistrationResponse } = await library()
  try {
    const attestationObject = await withoutStatement(credential.response.attestationObject)
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: { ...credential, response: { ...credential.response, attestationObject } } as RegistrationResponseJSON,
      expectedChallenge: challenge.toString('base64url'),
      expectedOrigin: [...party.origins],
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: algorithms,
    })
    // The outer id is what is looked up later; the one inside is what the device made.
    if (!verified || registrationInfo.credential.id !== credential.id) return undefined
    const { id, publicKey, counter } = registrationInfo.credential
    const passkey = {
      publicKey: Buffer.from(publicKey).toString('base64url'),
      counter,
      transports: credential.response.transports ?? [],
      backedUp: registrationInfo.credentialBackedUp,
    }
    return { id, passkey }
  } catch {
    // The library throws for everything that is malformed or does not match; to the caller these are one.
    return undefined
  }
}

/**
 * The attestation object with an empty statement. Statements are not asked for, prove nothing here, and are what makes a verifier parse
 * certificates and fetch revocation lists from addresses that the client names (server-side request forgery).
 */
async function withoutStatement(attestationObject: string): Promise<string> {
  const { decodeAttestationObject, isoCBOR } = await parts()
  const authData = decodeAttestationObject(Uint8Array.from(Buffer.from(attestationObject, 'base64url'))).get('authData')
  const stripped = new Map<string, unknown>([
    ['fmt', 'none'],
    ['attStmt', new Map()],
    ['authData', authData],
  ])
  return Buffer.from(isoCBOR.encode(stripped as Parameters<typeof isoCBOR.encode>[0])).toString('base64url')
}

/**
 * The passkey as it is to be stored after it was used; undefined for anything that does not verify, a counter that goes back included (a
 * cloned device). Where nobody was named before, `isNamed` false, the answer must name the person itself (WebAuthn Level 3 §7.2).
 */
export async function verifyPasskey(
  party: RelyingParty,
  challenge: Buffer,
  credential: UsedPasskey,
  stored: { id: string; userId: string; passkey: StoredPasskey; isNamed: boolean },
): Promise<StoredPasskey | undefined> {
  const handle = credential.response.userHandle ?? undefined
  if (handle === undefined ? !stored.isNamed : handle !== handleOf(stored.userId)) return undefined
  const { verifyAuthenticationResponse } = await library()
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: credential as AuthenticationResponseJSON,
      expectedChallenge: challenge.toString('base64url'),
      expectedOrigin: [...party.origins],
      expectedRPID: party.id,
      credential: {
        id: stored.id,
        publicKey: Uint8Array.from(Buffer.from(stored.passkey.publicKey, 'base64url')),
        counter: stored.passkey.counter,
      },
      requireUserVerification: true,
    })
    if (!verified) return undefined
    const { newCounter, credentialBackedUp } = authenticationInfo
    return { ...stored.passkey, counter: newCounter, backedUp: credentialBackedUp }
  } catch {
    return undefined
  }
}

/** What a passkey calls its person: no name, no address, and not the id that others see (WebAuthn Level 3 §14.6.1). */
function handleOf(userId: string): string {
  return sha256Base64url(`passkey user\n${userId}`)
}
