import { type Static, Type } from 'typebox'
import { Password, User } from './accounts.ts'
import { endpoint } from './endpoint.ts'
import { Code, OneTimeToken, PasskeyAnswer, PasskeyChallenge } from './mfa.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const Session = object({
  id: Id,
  current: Type.Boolean(),
  deviceName: nullable(Type.String()),
  methods: Type.Array(Type.String(), { description: 'How the person was proved (RFC 8176)' }),
  deviceBound: Type.Boolean({ description: 'Whether a refresh must be proved with a key of the device' }),
  userAgent: nullable(Type.String()),
  ip: nullable(Type.String({ description: 'The network part only' })),
  createdAt: Time,
  lastSeenAt: Time,
  expiresAt: Time,
})
export type Session = Static<typeof Session>

const tokens = {
  accessToken: Type.String(),
  tokenType: Type.Literal('Bearer'),
  expiresIn: Type.Integer({ description: 'Seconds' }),
  refreshToken: Type.String(),
  session: Session,
}
export const Tokens = object(tokens)
export type Tokens = Static<typeof Tokens>
export const Login = object({
  ...tokens,
  user: User,
  deviceToken: Type.Optional(
    Type.String({
      description:
        'On a new device: keep it and send it with later logins, which then pass by the throttles of strangers',
    }),
  ),
})
export type Login = Static<typeof Login>

export const MfaMethod = Type.Enum(['totp', 'recovery', 'passkey'])
/** The first factor was right and there is a second one: no session yet. */
export const PendingMfa = object({
  mfaRequired: Type.Literal(true),
  mfaToken: OneTimeToken,
  methods: Type.Array(MfaMethod),
  expiresIn: Type.Integer({ description: 'Seconds' }),
})
export type PendingMfa = Static<typeof PendingMfa>
export const LoginReply = Type.Union([Login, PendingMfa])
export type LoginReply = Static<typeof LoginReply>

/** What the person signs in from: its name in the list of sessions, and the token that an earlier login gave it. */
export const Device = object({ name: Type.Optional(Name), token: Type.Optional(OneTimeToken) })
const signInErrors = [
  'invalid_credentials',
  'login_throttled',
  'email_unverified',
  'invalid_device_proof',
  'overloaded',
] as const

export const logIn = endpoint({
  name: 'logIn',
  summary: 'Start a session with a username or email address and the password',
  method: 'POST',
  path: '/api/v1/auth/login',
  access: 'public',
  limit: 'auth',
  body: object({
    login: Type.String({ minLength: 1, maxLength: 254 }),
    password: Password,
    device: Type.Optional(Device),
  }),
  status: 200,
  reply: LoginReply,
  errors: [...signInErrors],
})

export const completeMfa = endpoint({
  name: 'completeMfa',
  summary: 'Finish a login with the second factor',
  method: 'POST',
  path: '/api/v1/auth/mfa',
  access: 'public',
  limit: 'auth',
  body: object({
    mfaToken: OneTimeToken,
    method: MfaMethod,
    code: Type.Optional(Code),
    challengeToken: Type.Optional(PasskeyAnswer.challengeToken),
    credential: Type.Optional(PasskeyAnswer.credential),
  }),
  status: 200,
  reply: Login,
  errors: ['invalid_mfa_token', 'invalid_code', 'login_throttled', 'email_unverified', 'invalid_device_proof'],
})

export const startMfaPasskey = endpoint({
  name: 'startMfaPasskey',
  summary: 'The challenge for a passkey as the second factor of a pending login',
  method: 'POST',
  path: '/api/v1/auth/mfa/options',
  access: 'public',
  limit: 'auth',
  body: object({ mfaToken: OneTimeToken }),
  status: 200,
  reply: PasskeyChallenge,
  errors: ['invalid_mfa_token', 'factor_not_found'],
})

export const startPasskeyLogin = endpoint({
  name: 'startPasskeyLogin',
  summary: 'The challenge for a login with a passkey alone; names nobody',
  method: 'POST',
  path: '/api/v1/auth/passkeys/login/options',
  access: 'public',
  limit: 'auth',
  status: 200,
  reply: PasskeyChallenge,
  errors: [],
})

export const logInWithPasskey = endpoint({
  name: 'logInWithPasskey',
  summary: 'Start a session with a passkey, which is both factors at once',
  method: 'POST',
  path: '/api/v1/auth/passkeys/login',
  access: 'public',
  limit: 'auth',
  body: object({ ...PasskeyAnswer, device: Type.Optional(Device) }),
  status: 200,
  reply: Login,
  errors: ['invalid_passkey', 'login_throttled', 'email_unverified', 'invalid_device_proof'],
})

export const refresh = endpoint({
  name: 'refresh',
  summary:
    'Exchange a refresh token for the next one; a token used twice ends its session. A session bound to a device needs the header DPoP (RFC 9449), with the hash of the refresh token as ath',
  method: 'POST',
  path: '/api/v1/auth/refresh',
  access: 'public',
  // What nobody can guess needs no such narrow limit, by which a stranger at the same address could log a whole office out.
  limit: 'read',
  body: object({ refreshToken: Type.String({ minLength: 1, maxLength: 500 }) }),
  status: 200,
  reply: Tokens,
  errors: ['invalid_refresh_token', 'device_proof_required', 'invalid_device_proof'],
})

export const logOut = endpoint({
  name: 'logOut',
  summary: 'End the current session',
  method: 'POST',
  path: '/api/v1/auth/logout',
  access: 'session',
  limit: 'session',
  status: 204,
  reply: null,
  errors: [],
})

export const listSessions = endpoint({
  name: 'listSessions',
  summary: 'The live sessions of the account',
  method: 'GET',
  path: '/api/v1/auth/sessions',
  access: 'session',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Session),
  errors: [],
})

export const revokeSession = endpoint({
  name: 'revokeSession',
  summary: 'End one session of the account',
  method: 'DELETE',
  path: '/api/v1/auth/sessions/:sessionId',
  access: 'session',
  limit: 'session',
  params: object({ sessionId: Id }),
  status: 204,
  reply: null,
  errors: ['session_not_found'],
})

export const revokeOtherSessions = endpoint({
  name: 'revokeOtherSessions',
  summary: 'End every session of the account but the current one',
  method: 'DELETE',
  path: '/api/v1/auth/sessions',
  access: 'session',
  limit: 'session',
  status: 204,
  reply: null,
  errors: [],
})

export const getKeySet = endpoint({
  name: 'getKeySet',
  summary: 'The public keys that access tokens are signed with',
  method: 'GET',
  path: '/.well-known/jwks.json',
  access: 'public',
  limit: 'read',
  cacheSeconds: 600,
  status: 200,
  reply: object({
    keys: Type.Array(
      object({
        kty: Type.String(),
        crv: Type.String(),
        x: Type.String(),
        kid: Type.String(),
        alg: Type.String(),
        use: Type.String(),
      }),
    ),
  }),
  errors: [],
})

export const SigningKey = object({
  id: Type.String({ description: 'The `kid` of its tokens: its RFC 7638 thumbprint' }),
  state: Type.Enum(['next', 'current', 'previous']),
  createdAt: Time,
  signsFrom: Type.String({ format: 'date-time', description: 'For the next key the earliest time' }),
  retiresAt: nullable(Type.String({ format: 'date-time', description: 'When its last token is dead' })),
})
export type SigningKey = Static<typeof SigningKey>
const signingKeys = { current: SigningKey, next: SigningKey, previous: Type.Array(SigningKey) }
export const SigningKeys = object(signingKeys)
export type SigningKeys = Static<typeof SigningKeys>

export const listSigningKeys = endpoint({
  name: 'listSigningKeys',
  summary: 'The keys that access tokens are signed with',
  method: 'GET',
  path: '/api/v1/admin/signing-keys',
  access: 'admin',
  limit: 'admin',
  status: 200,
  reply: SigningKeys,
  errors: [],
})

export const rotateSigningKeys = endpoint({
  name: 'rotateSigningKeys',
  summary:
    'Change over to the next signing key now, if it was published for an hour; in an emergency withdraw all keys and with them every access token, while sessions go on',
  method: 'POST',
  path: '/api/v1/admin/signing-keys/rotate',
  access: 'admin',
  stepUp: true,
  limit: 'admin',
  body: object({ emergency: Type.Optional(Type.Boolean()) }),
  status: 200,
  reply: object({ rotated: Type.Boolean(), ...signingKeys }),
  errors: [],
})
