import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Id, Name, nullable, object, Time } from './values.ts'

/** What the server hands out to be brought back once: a pending login, a challenge, a step-up. */
export const OneTimeToken = Type.String({ minLength: 1, maxLength: 100 })
export const Code = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'As shown; spaces and hyphens do not count',
})
/** Base64url, of at most so many characters. */
const Bytes = (maxLength: number) => Type.String({ pattern: `^[A-Za-z0-9_-]{1,${maxLength}}$` })
/** A credential id has at most 1023 bytes (WebAuthn Level 3 §4). */
const CredentialId = Bytes(1364)
const Transports = Type.Array(Type.String({ maxLength: 32 }), { maxItems: 16 })
/** What every answer of `navigator.credentials` has in the browser's own JSON (WebAuthn Level 3 §5.1, `toJSON`); nothing is read from the extensions. */
const credential = {
  id: CredentialId,
  rawId: CredentialId,
  type: Type.Literal('public-key'),
  authenticatorAttachment: Type.Optional(nullable(Type.String({ maxLength: 32 }))),
  clientExtensionResults: Type.Optional(
    Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 16 }),
  ),
}
/** A passkey that was just made. What repeats the attestation object for people who cannot read CBOR is taken and not read. */
export const NewPasskey = object({
  ...credential,
  response: object({
    clientDataJSON: Bytes(8192),
    attestationObject: Bytes(32_768),
    transports: Type.Optional(Transports),
    authenticatorData: Type.Optional(Bytes(8192)),
    publicKey: Type.Optional(nullable(Bytes(8192))),
    publicKeyAlgorithm: Type.Optional(Type.Integer({ minimum: -65_536, maximum: 65_535 })),
  }),
})
export type NewPasskey = Static<typeof NewPasskey>
/** A passkey that was used. */
export const UsedPasskey = object({
  ...credential,
  response: object({
    clientDataJSON: Bytes(8192),
    authenticatorData: Bytes(8192),
    signature: Bytes(8192),
    userHandle: Type.Optional(nullable(Bytes(88))),
  }),
})
export type UsedPasskey = Static<typeof UsedPasskey>

export const Factor = object({
  id: Id,
  kind: Type.String({ description: '`totp`, `passkey`, or a kind to come' }),
  name: Type.String(),
  createdAt: Time,
  lastUsedAt: nullable(Time),
})
export type Factor = Static<typeof Factor>

export const listFactors = endpoint({
  name: 'listFactors',
  summary: 'The second factors and passkeys of the account',
  method: 'GET',
  path: '/api/v1/auth/factors',
  access: 'session',
  limit: 'read',
  status: 200,
  reply: object({ items: Type.Array(Factor), recoveryCodesLeft: Type.Integer() }),
  errors: [],
})

export const startTotp = endpoint({
  name: 'startTotp',
  summary: 'Begin to set up an authenticator app; it counts once a code of it was confirmed',
  method: 'POST',
  path: '/api/v1/auth/totp',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  body: object({ name: Type.Optional(Name) }),
  status: 201,
  reply: object({
    secret: Type.String({ description: 'Base32; shown this once' }),
    uri: Type.String({ description: 'otpauth://, for a QR code' }),
  }),
  errors: ['factor_exists'],
})

const RecoveryCodes = Type.Array(Type.String(), { description: 'Each works once; shown this once' })

export const confirmTotp = endpoint({
  name: 'confirmTotp',
  summary: 'Finish the setup of the authenticator app with a code it shows; with the first factor come recovery codes',
  method: 'POST',
  path: '/api/v1/auth/totp/confirm',
  access: 'session',
  limit: 'auth',
  body: object({ code: Code }),
  status: 200,
  reply: object({ factor: Factor, recoveryCodes: nullable(RecoveryCodes) }),
  errors: ['factor_not_found', 'invalid_code', 'login_throttled', 'factor_exists'],
})

export const removeTotp = endpoint({
  name: 'removeTotp',
  summary: 'Remove the authenticator app',
  method: 'DELETE',
  path: '/api/v1/auth/totp',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 204,
  reply: null,
  errors: ['factor_not_found', 'password_too_short_alone'],
})

export const renewRecoveryCodes = endpoint({
  name: 'renewRecoveryCodes',
  summary: 'New recovery codes; the old ones are worthless at once',
  method: 'POST',
  path: '/api/v1/auth/recovery-codes',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 201,
  reply: object({ recoveryCodes: RecoveryCodes }),
  errors: ['factor_not_found'],
})

const CredentialReference = object({
  id: CredentialId,
  type: Type.Literal('public-key'),
  transports: Type.Optional(Transports),
})
/** What a browser is asked for a passkey with: `publicKey` goes to `navigator.credentials.get`, the token comes back with its answer. */
export const PasskeyChallenge = object({
  challengeToken: OneTimeToken,
  publicKey: object({
    rpId: Type.String(),
    challenge: Type.String(),
    timeout: Type.Integer({ description: 'Milliseconds' }),
    userVerification: Type.Literal('required'),
    allowCredentials: Type.Array(CredentialReference),
  }),
})
export type PasskeyChallenge = Static<typeof PasskeyChallenge>
/** The same for `navigator.credentials.create`. */
export const NewPasskeyChallenge = object({
  challengeToken: OneTimeToken,
  publicKey: object({
    rp: object({ id: Type.String(), name: Type.String() }),
    user: object({ id: Type.String(), name: Type.String(), displayName: Type.String() }),
    challenge: Type.String(),
    pubKeyCredParams: Type.Array(object({ type: Type.Literal('public-key'), alg: Type.Integer() })),
    timeout: Type.Integer({ description: 'Milliseconds' }),
    attestation: Type.Literal('none'),
    excludeCredentials: Type.Array(CredentialReference),
    authenticatorSelection: object({
      residentKey: Type.Literal('required'),
      requireResidentKey: Type.Literal(true),
      userVerification: Type.Literal('required'),
    }),
  }),
})
export type NewPasskeyChallenge = Static<typeof NewPasskeyChallenge>
export const PasskeyAnswer = { challengeToken: OneTimeToken, credential: UsedPasskey }

export const startPasskey = endpoint({
  name: 'startPasskey',
  summary: 'Begin to add a passkey',
  method: 'POST',
  path: '/api/v1/auth/passkeys/options',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 200,
  reply: NewPasskeyChallenge,
  errors: ['too_many_factors'],
})

export const addPasskey = endpoint({
  name: 'addPasskey',
  summary: 'Add the passkey that the browser made; with the first factor come recovery codes',
  method: 'POST',
  path: '/api/v1/auth/passkeys',
  access: 'session',
  limit: 'auth',
  body: object({ challengeToken: OneTimeToken, credential: NewPasskey, name: Name }),
  status: 201,
  reply: object({ factor: Factor, recoveryCodes: nullable(RecoveryCodes) }),
  errors: ['invalid_passkey', 'factor_exists', 'too_many_factors'],
})

export const renamePasskey = endpoint({
  name: 'renamePasskey',
  summary: 'Give a passkey another name',
  method: 'PATCH',
  path: '/api/v1/auth/passkeys/:factorId',
  access: 'session',
  limit: 'write',
  params: object({ factorId: Id }),
  body: object({ name: Name }),
  status: 200,
  reply: Factor,
  errors: ['factor_not_found'],
})

export const removePasskey = endpoint({
  name: 'removePasskey',
  summary: 'Remove a passkey',
  method: 'DELETE',
  path: '/api/v1/auth/passkeys/:factorId',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  params: object({ factorId: Id }),
  status: 204,
  reply: null,
  errors: ['factor_not_found', 'password_too_short_alone', 'last_credential'],
})

/** A sensitive act in the words of its contract: the digest is the SHA-256 of the body's bytes as they will be sent, base64url. */
const act = {
  operation: Type.String({ pattern: '^[A-Za-z]{1,64}$', description: 'The `operationId`' }),
  params: Type.Optional(
    Type.Record(Type.String({ pattern: '^[A-Za-z]{1,32}$' }), Type.String({ maxLength: 200 }), {
      maxProperties: 5,
      additionalProperties: false,
    }),
  ),
  bodyDigest: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })),
}
const StepUpMethod = Type.Enum(['password', 'totp', 'recovery', 'passkey'])

export const startStepUp = endpoint({
  name: 'startStepUp',
  summary:
    'How this person may prove themselves for one sensitive act; with a passkey, its challenge is bound to the act',
  method: 'POST',
  path: '/api/v1/auth/step-up/options',
  access: 'session',
  limit: 'auth',
  body: object(act),
  status: 200,
  reply: object({ methods: Type.Array(StepUpMethod), passkey: nullable(PasskeyChallenge) }),
  errors: ['invalid_operation'],
})

export const stepUp = endpoint({
  name: 'stepUp',
  summary: 'Prove oneself for one sensitive act: the answer goes into its header `Step-Up`, once, within 5 minutes',
  method: 'POST',
  path: '/api/v1/auth/step-up',
  access: 'session',
  limit: 'auth',
  body: object({
    ...act,
    method: StepUpMethod,
    password: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
    code: Type.Optional(Code),
    challengeToken: Type.Optional(OneTimeToken),
    credential: Type.Optional(UsedPasskey),
  }),
  status: 200,
  reply: object({ stepUpToken: Type.String(), expiresAt: Time }),
  errors: ['invalid_operation', 'step_up_failed', 'login_throttled', 'overloaded'],
})
