import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Count, Id, nullable, object, PageQuery, page, Time } from './values.ts'

/** A person as admins see one in a list: the email address is hidden, except enough to tell two apart (requirement K4). */
export const ListedUser = object({
  id: Id,
  username: Type.String(),
  email: Type.String({ description: 'Hidden but for its first letter and its domain' }),
  isActive: Type.Boolean(),
  isAdmin: Type.Boolean(),
  createdAt: Time,
  lastLoginAt: nullable(Time),
})
export type ListedUser = Static<typeof ListedUser>

/** One person in full, without anything that would open the account. */
export const AdministeredUser = object({
  id: Id,
  username: Type.String(),
  email: Type.String(),
  emailVerified: Type.Boolean(),
  isActive: Type.Boolean(),
  isAdmin: Type.Boolean(),
  hasPassword: Type.Boolean(),
  passwordDisabled: Type.Boolean({ description: 'After 100 failed logins in a row, until it is reset' }),
  factors: Type.Array(Type.String(), { description: 'The kinds of the second factors' }),
  sessions: Count,
  apiKeys: Count,
  createdAt: Time,
  lastLoginAt: nullable(Time),
})
export type AdministeredUser = Static<typeof AdministeredUser>

const userParams = object({ userId: Id })
const act = { access: 'admin', limit: 'admin', stepUp: true, params: userParams } as const
const changes = { ...act, status: 200, reply: AdministeredUser } as const

export const listUsers = endpoint({
  name: 'listUsers',
  summary: 'The people of this server, newest first; `q` is the beginning of a username or a whole email address',
  method: 'GET',
  path: '/api/v1/admin/users',
  access: 'admin',
  limit: 'admin',
  query: object({ ...PageQuery, q: Type.Optional(Type.String({ minLength: 1, maxLength: 254 })) }),
  status: 200,
  reply: page(ListedUser),
  errors: [],
})

export const getUser = endpoint({
  name: 'getUser',
  summary: 'One person',
  method: 'GET',
  path: '/api/v1/admin/users/:userId',
  access: 'admin',
  limit: 'admin',
  params: userParams,
  status: 200,
  reply: AdministeredUser,
  errors: ['user_not_found'],
})

export const deactivateUser = endpoint({
  ...changes,
  name: 'deactivateUser',
  summary: 'Shut a person out: sessions, keys, jobs and streams end with it',
  method: 'POST',
  path: '/api/v1/admin/users/:userId/deactivate',
  errors: ['user_not_found', 'last_admin'],
})

export const activateUser = endpoint({
  ...changes,
  name: 'activateUser',
  summary: 'Let a person in again; what had ended stays ended',
  method: 'POST',
  path: '/api/v1/admin/users/:userId/activate',
  errors: ['user_not_found'],
})

export const setUserRole = endpoint({
  ...changes,
  name: 'setUserRole',
  summary: 'Make a person an admin, or no longer one',
  method: 'PUT',
  path: '/api/v1/admin/users/:userId/role',
  body: object({ isAdmin: Type.Boolean() }),
  errors: ['user_not_found', 'last_admin'],
})

export const endUserSessions = endpoint({
  ...act,
  name: 'endUserSessions',
  summary: 'End all sessions of a person',
  method: 'DELETE',
  path: '/api/v1/admin/users/:userId/sessions',
  status: 204,
  reply: null,
  errors: ['user_not_found'],
})

export const startUserReset = endpoint({
  ...act,
  name: 'startUserReset',
  summary: 'Send a person the mail with which they set a new password; nobody else ever chooses or sees it',
  method: 'POST',
  path: '/api/v1/admin/users/:userId/reset',
  status: 202,
  reply: null,
  errors: ['user_not_found'],
})
