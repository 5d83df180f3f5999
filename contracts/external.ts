import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { OneTimeToken } from './mfa.ts'
import { Device, LoginReply } from './sessions.ts'
import { Id, nullable, object, Time } from './values.ts'

/** A sign-in that goes through the external provider: keep `flowToken` where only this browser window has it, and open `url`. */
export const ExternalFlow = object({ url: Type.String(), flowToken: OneTimeToken })
export type ExternalFlow = Static<typeof ExternalFlow>
export const ExternalIdentity = object({
  id: Id,
  issuer: Type.String(),
  createdAt: Time,
  lastUsedAt: nullable(Time),
})
export type ExternalIdentity = Static<typeof ExternalIdentity>

/** What the provider sent the browser back with, and the token that this browser was given before. */
const answer = {
  flowToken: OneTimeToken,
  code: Type.String({ minLength: 1, maxLength: 4096 }),
  state: Type.String({ minLength: 1, maxLength: 200 }),
  iss: Type.Optional(Type.String({ minLength: 1, maxLength: 500, description: 'RFC 9207' })),
}

export const getExternalProvider = endpoint({
  name: 'getExternalProvider',
  summary: 'The external provider that people may sign in with; null when there is none',
  method: 'GET',
  path: '/api/v1/auth/external',
  access: 'public',
  limit: 'read',
  status: 200,
  reply: object({ provider: nullable(object({ name: Type.String(), issuer: Type.String() })) }),
  errors: [],
})

export const startExternalLogin = endpoint({
  name: 'startExternalLogin',
  summary: 'Begin to sign in with the external provider (OpenID Connect, authorization code with PKCE)',
  method: 'POST',
  path: '/api/v1/auth/external/start',
  access: 'public',
  limit: 'auth',
  status: 200,
  reply: ExternalFlow,
  errors: ['external_not_configured', 'external_unavailable'],
})

export const finishExternalLogin = endpoint({
  name: 'finishExternalLogin',
  summary: 'Finish the sign-in with what the provider answered',
  method: 'POST',
  path: '/api/v1/auth/external/finish',
  access: 'public',
  limit: 'auth',
  body: object({
    ...answer,
    device: Type.Optional(Device),
    invitation: Type.Optional(OneTimeToken),
  }),
  status: 200,
  reply: LoginReply,
  errors: [
    'external_not_configured',
    'external_unavailable',
    'invalid_external_login',
    'external_email_unverified',
    'external_link_required',
    'registration_closed',
    'setup_required',
    'invalid_invitation',
    'email_unverified',
    'invalid_device_proof',
  ],
})

export const startExternalLink = endpoint({
  name: 'startExternalLink',
  summary: 'Begin to link the account to the external provider',
  method: 'POST',
  path: '/api/v1/auth/external/link/start',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 200,
  reply: ExternalFlow,
  errors: ['external_not_configured', 'external_unavailable'],
})

export const finishExternalLink = endpoint({
  name: 'finishExternalLink',
  summary: 'Finish the link, in the session that began it',
  method: 'POST',
  path: '/api/v1/auth/external/link/finish',
  access: 'session',
  limit: 'auth',
  body: object(answer),
  status: 201,
  reply: ExternalIdentity,
  errors: ['external_not_configured', 'external_unavailable', 'invalid_external_login', 'external_identity_taken'],
})

export const listExternalIdentities = endpoint({
  name: 'listExternalIdentities',
  summary: 'The external identities that open the account',
  method: 'GET',
  path: '/api/v1/auth/external/identities',
  access: 'session',
  limit: 'read',
  status: 200,
  reply: object({ items: Type.Array(ExternalIdentity) }),
  errors: [],
})

export const removeExternalIdentity = endpoint({
  name: 'removeExternalIdentity',
  summary: 'Unlink an external identity',
  method: 'DELETE',
  path: '/api/v1/auth/external/identities/:externalIdentityId',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  params: object({ externalIdentityId: Id }),
  status: 204,
  reply: null,
  errors: ['external_identity_not_found', 'last_credential'],
})
