import { Type } from 'typebox'
import { browserFile, Email, Password, User } from './accounts.ts'
import { endpoint } from './endpoint.ts'
import { OneTimeToken } from './mfa.ts'
import { object } from './values.ts'

/** What the link of a mail carries in its fragment, which no browser sends to anybody. */
const link = { token: OneTimeToken }

export const confirmRegistration = endpoint({
  name: 'confirmRegistration',
  summary: 'Create the account that was asked for, where addresses must be proved first, with the link of the mail',
  method: 'POST',
  path: '/api/v1/auth/register/confirm',
  access: 'public',
  limit: 'auth',
  body: object(link),
  status: 201,
  reply: object({ user: User }),
  errors: ['invalid_link', 'registration_closed', 'email_taken', 'username_taken'],
})

export const changePassword = endpoint({
  name: 'changePassword',
  summary: 'Change the password with the current one; every other session ends, and no link or pending login is left',
  method: 'POST',
  path: '/api/v1/auth/password',
  access: 'session',
  limit: 'auth',
  body: object({ currentPassword: Password, newPassword: Password }),
  status: 204,
  reply: null,
  errors: ['step_up_failed', 'weak_password', 'login_throttled', 'overloaded'],
})

export const setPassword = endpoint({
  name: 'setPassword',
  summary: 'Set the first password of an account that has none; as after a change, every other session ends',
  method: 'PUT',
  path: '/api/v1/auth/password',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  body: object({ newPassword: Password }),
  status: 204,
  reply: null,
  errors: ['password_exists', 'weak_password', 'overloaded'],
})

export const requestPasswordReset = endpoint({
  name: 'requestPasswordReset',
  summary: 'Mail a link that sets a new password; the answer is the same whether or not there is such an account',
  method: 'POST',
  path: '/api/v1/auth/password/forgot',
  access: 'public',
  limit: 'auth',
  body: object({ login: Type.String({ minLength: 1, maxLength: 254, description: 'Username or email address' }) }),
  status: 202,
  reply: null,
  errors: [],
})

export const resetPassword = endpoint({
  name: 'resetPassword',
  summary: 'Set a new password with the link of the mail: ends every session, starts none, and leaves second factors',
  method: 'POST',
  path: '/api/v1/auth/password/reset',
  access: 'public',
  limit: 'auth',
  body: object({ ...link, newPassword: Password }),
  status: 204,
  reply: null,
  errors: ['invalid_link', 'weak_password', 'overloaded'],
})

export const requestEmailVerification = endpoint({
  name: 'requestEmailVerification',
  summary: 'Mail the link that proves the email address once more',
  method: 'POST',
  path: '/api/v1/auth/email/verification',
  access: 'session',
  limit: 'auth',
  status: 202,
  reply: null,
  errors: [],
})

export const verifyEmail = endpoint({
  name: 'verifyEmail',
  summary: 'Prove the email address with the link of the mail',
  method: 'POST',
  path: '/api/v1/auth/email/verify',
  access: 'public',
  limit: 'auth',
  body: object(link),
  status: 204,
  reply: null,
  errors: ['invalid_link'],
})

export const requestEmailChange = endpoint({
  name: 'requestEmailChange',
  summary: 'Mail a link to a new email address and a notice to the old one; the answer does not say whose it is',
  method: 'POST',
  path: '/api/v1/auth/email',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  body: object({ email: Email }),
  status: 202,
  reply: null,
  errors: [],
})

export const confirmEmailChange = endpoint({
  name: 'confirmEmailChange',
  summary: 'Change to the new email address with the link of the mail; every other link of the account is worthless',
  method: 'POST',
  path: '/api/v1/auth/email/confirm',
  access: 'public',
  limit: 'auth',
  body: object(link),
  status: 204,
  reply: null,
  errors: ['invalid_link', 'email_taken'],
})

export const getAccountPage = browserFile(
  'getAccountPage',
  '/account',
  'text/html',
  'The page behind the links of mails; opening it uses nothing up',
)
export const getAccountScript = browserFile(
  'getAccountScript',
  '/account/account.js',
  'text/javascript',
  'The script of that page',
)
export const getAccountStyle = browserFile('getAccountStyle', '/account/account.css', 'text/css', 'Its style')
