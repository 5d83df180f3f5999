import { Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Login } from './sessions.ts'
import { Name, nullable, object, Time } from './values.ts'

const UserCode = Type.String({
  minLength: 8,
  maxLength: 16,
  description: 'Eight letters; case, spaces and hyphens do not count',
})

export const startDeviceLogin = endpoint({
  name: 'startDeviceLogin',
  summary: 'Begin a login on a device without a browser (RFC 8628): show the code, poll with the device code',
  method: 'POST',
  path: '/api/v1/auth/device',
  access: 'public',
  limit: 'auth',
  body: object({ deviceName: Type.Optional(Name) }),
  status: 201,
  reply: object({
    deviceCode: Type.String(),
    userCode: Type.String(),
    verificationUri: Type.String(),
    verificationUriComplete: Type.String({
      description: 'The same with the code in its fragment, which no server sees',
    }),
    expiresIn: Type.Integer({ description: 'Seconds' }),
    interval: Type.Integer({ description: 'Seconds between two polls, at least' }),
  }),
  errors: ['invalid_device_proof'],
})

export const pollDeviceLogin = endpoint({
  name: 'pollDeviceLogin',
  summary: 'Ask whether the device login was decided; the tokens come once',
  method: 'POST',
  path: '/api/v1/auth/device/token',
  access: 'public',
  limit: 'read',
  body: object({ deviceCode: Type.String({ minLength: 1, maxLength: 100 }) }),
  status: 200,
  reply: Login,
  errors: [
    'device_login_pending',
    'slow_down',
    'device_login_denied',
    'invalid_device_code',
    'device_proof_required',
    'invalid_device_proof',
    'email_unverified',
  ],
})

export const getDeviceLogin = endpoint({
  name: 'getDeviceLogin',
  summary: 'What a code stands for, to be shown to the person who is about to approve it',
  method: 'POST',
  path: '/api/v1/auth/device/inspect',
  access: 'session',
  limit: 'auth',
  body: object({ userCode: UserCode }),
  status: 200,
  reply: object({ deviceName: nullable(Type.String()), ip: nullable(Type.String()), createdAt: Time, expiresAt: Time }),
  errors: ['invalid_user_code', 'login_throttled'],
})

export const approveDeviceLogin = endpoint({
  name: 'approveDeviceLogin',
  summary: 'Let the device in as oneself; needs a fresh proof, because whoever shows a code may not be who one thinks',
  method: 'POST',
  path: '/api/v1/auth/device/approve',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  body: object({ userCode: UserCode }),
  status: 204,
  reply: null,
  errors: ['invalid_user_code', 'login_throttled'],
})

export const denyDeviceLogin = endpoint({
  name: 'denyDeviceLogin',
  summary: 'Turn the device away',
  method: 'POST',
  path: '/api/v1/auth/device/deny',
  access: 'session',
  limit: 'auth',
  body: object({ userCode: UserCode }),
  status: 204,
  reply: null,
  errors: ['invalid_user_code', 'login_throttled'],
})
