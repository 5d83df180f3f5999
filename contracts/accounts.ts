import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Id, nullable, object, Time } from './values.ts'

/** One address as people have it: without the quotes, comments and lists that RFC 5322 would also allow, which mail programs read differently. */
export const Email = Type.String({
  minLength: 3,
  maxLength: 254,
  pattern: '^[^\\s@"(),:;<>\\[\\]\\\\\\u0000-\\u001f\\u007f]+@[^\\s@"(),:;<>\\[\\]\\\\\\u0000-\\u001f\\u007f]+$',
})
export const Username = Type.String({ pattern: '^[A-Za-z0-9_-]{3,50}$' })
/** Counted in code points and judged by the server; the ceiling only bounds what is hashed. */
export const Password = Type.String({ minLength: 1, maxLength: 1024 })

export const User = object({
  id: Id,
  email: Type.String(),
  username: Type.String(),
  isActive: Type.Boolean(),
  isAdmin: Type.Boolean(),
  tier: Type.String(),
  emailVerified: Type.Boolean(),
  mfa: Type.Boolean(),
  createdAt: Time,
  lastLoginAt: nullable(Time),
})
export type User = Static<typeof User>

export const setUp = endpoint({
  name: 'setUp',
  summary: 'Create the first admin with the setup token printed at start; works once',
  method: 'POST',
  path: '/api/v1/setup',
  access: 'public',
  limit: 'auth',
  body: object({
    setupToken: Type.String({ minLength: 1, maxLength: 200 }),
    email: Email,
    username: Username,
    password: Password,
  }),
  status: 201,
  reply: object({ user: User }),
  errors: ['invalid_setup_token', 'already_set_up', 'weak_password', 'email_taken', 'username_taken', 'overloaded'],
})

export const register = endpoint({
  name: 'register',
  summary:
    'Create an account, where registration is open or with an invitation. Where email addresses must be proved, the answer is always 202 and the rest goes by mail',
  method: 'POST',
  path: '/api/v1/auth/register',
  access: 'public',
  limit: 'auth',
  body: object({
    email: Email,
    username: Username,
    password: Password,
    invitation: Type.Optional(
      Type.String({ minLength: 1, maxLength: 100, description: 'Proves the address it was sent to' }),
    ),
  }),
  status: 201,
  emptyStatus: 202,
  reply: object({ user: User }),
  errors: [
    'setup_required',
    'registration_closed',
    'invalid_invitation',
    'weak_password',
    'email_taken',
    'username_taken',
    'overloaded',
  ],
})

export const getMe = endpoint({
  name: 'getMe',
  summary: 'The account behind the credentials',
  method: 'GET',
  path: '/api/v1/auth/me',
  access: 'account:read',
  limit: 'read',
  status: 200,
  reply: User,
  errors: ['user_not_found'],
})

export const updateMe = endpoint({
  name: 'updateMe',
  summary: 'Change the username of the account',
  method: 'PATCH',
  path: '/api/v1/auth/me',
  access: 'session',
  limit: 'write',
  body: object({ username: Type.Optional(Username) }),
  status: 200,
  reply: User,
  errors: ['username_taken'],
})

/** A file of a page that a browser opens. */
export const browserFile = (name: string, path: string, produces: string, summary: string) =>
  endpoint({
    name,
    summary,
    method: 'GET',
    path,
    access: 'public',
    limit: 'read',
    status: 200,
    reply: null,
    produces,
    errors: ['not_found'],
  })
export const getSetupPage = browserFile(
  'getSetupPage',
  '/setup',
  'text/html',
  'The page behind the setup link; gone once the server is set up',
)
export const getSetupScript = browserFile(
  'getSetupScript',
  '/setup/setup.js',
  'text/javascript',
  'The script of the setup page',
)
export const getSetupStyle = browserFile('getSetupStyle', '/setup/setup.css', 'text/css', 'The style of the setup page')
