import { type Static, Type } from 'typebox'
import { Password, User } from './accounts.ts'
import { endpoint } from './endpoint.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const Session = object({
  id: Id,
  current: Type.Boolean(),
  deviceName: nullable(Type.String()),
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
export const Login = object({ ...tokens, user: User })
export type Login = Static<typeof Login>

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
    device: Type.Optional(object({ name: Name })),
  }),
  status: 200,
  reply: Login,
  errors: ['invalid_credentials', 'overloaded'],
})

export const refresh = endpoint({
  name: 'refresh',
  summary: 'Exchange a refresh token for the next one; a token used twice ends its session',
  method: 'POST',
  path: '/api/v1/auth/refresh',
  access: 'public',
  limit: 'auth',
  body: object({ refreshToken: Type.String({ minLength: 1, maxLength: 500 }) }),
  status: 200,
  reply: Tokens,
  errors: ['invalid_refresh_token'],
})

export const logOut = endpoint({
  name: 'logOut',
  summary: 'End the current session',
  method: 'POST',
  path: '/api/v1/auth/logout',
  access: 'session',
  limit: 'write',
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
  limit: 'write',
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
  limit: 'write',
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
