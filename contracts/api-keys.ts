import { type Static, Type } from 'typebox'
import { scopes } from './access.ts'
import { endpoint } from './endpoint.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

/** The published form of an API key, for secret scanners; docs/guide.md says how its checksum is computed. */
export const apiKeyPattern = 'hs_(live|test)_[0-9A-Za-z]{57}'
/** Requests per hour of a key that asks for no other limit, and the most that a person who is no admin may give one. */
export const defaultKeyLimit = 1000
export const maxUnprivilegedKeyLimit = 10_000
const maxKeyLimit = 100_000

export const ScopeList = Type.Array(Type.Enum([...scopes]), { minItems: 1, maxItems: 20, uniqueItems: true })
const apiKey = {
  id: Id,
  name: Type.String(),
  prefix: Type.String({ description: 'The first characters, to recognise the key by' }),
  environment: Type.Enum(['live', 'test'], {
    description: 'live: made by a server of the profile production, and good only there; test: by any other',
  }),
  scopes: ScopeList,
  projectId: nullable(Id),
  rateLimitPerHour: Type.Integer({
    description: 'Requests in any 60 minutes, counted together with the keys that rotation made of this one',
  }),
  replacedBy: nullable(Id),
  createdAt: Time,
  expiresAt: nullable(Time),
  lastUsedAt: nullable(Time),
}
export const ApiKey = object(apiKey)
export type ApiKey = Static<typeof ApiKey>
export const NewApiKey = object({
  ...apiKey,
  apiKey: Type.String({ pattern: `^${apiKeyPattern}$`, description: 'The key itself; shown this once' }),
})
export type NewApiKey = Static<typeof NewApiKey>

export const createApiKey = endpoint({
  name: 'createApiKey',
  summary: 'Make an API key that can do no more than its maker',
  method: 'POST',
  path: '/api/v1/api-keys',
  access: 'session',
  limit: 'write',
  body: object({
    name: Name,
    scopes: ScopeList,
    projectId: Type.Optional(Id),
    expiresAt: Type.Optional(Type.String({ format: 'date-time', description: 'Within 400 days; in 90 unless given' })),
    rateLimitPerHour: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: maxKeyLimit,
        description: `${defaultKeyLimit} unless given; above ${maxUnprivilegedKeyLimit} for admins alone`,
      }),
    ),
  }),
  status: 201,
  reply: NewApiKey,
  errors: ['session_revoked', 'permission_denied', 'project_not_found', 'api_key_limit'],
})

export const listApiKeys = endpoint({
  name: 'listApiKeys',
  summary: 'The live API keys of the account',
  method: 'GET',
  path: '/api/v1/api-keys',
  access: 'session',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(ApiKey),
  errors: [],
})

export const rotateApiKey = endpoint({
  name: 'rotateApiKey',
  summary: 'Make the key that takes an API key’s place; the old one lives on for the overlap',
  method: 'POST',
  path: '/api/v1/api-keys/:apiKeyId/rotate',
  access: 'session',
  limit: 'write',
  params: object({ apiKeyId: Id }),
  body: object({
    overlapSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 604_800, description: 'A day unless given; 0 ends the old key at once' }),
    ),
  }),
  status: 201,
  reply: NewApiKey,
  errors: ['session_revoked', 'permission_denied', 'project_not_found', 'api_key_not_found', 'api_key_rotated'],
})

export const revokeApiKey = endpoint({
  name: 'revokeApiKey',
  summary: 'Revoke an API key; its next request is refused',
  method: 'DELETE',
  path: '/api/v1/api-keys/:apiKeyId',
  access: 'session',
  limit: 'write',
  params: object({ apiKeyId: Id }),
  status: 204,
  reply: null,
  errors: ['api_key_not_found'],
})
