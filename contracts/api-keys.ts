import { type Static, Type } from 'typebox'
import { scopes } from './access.ts'
import { endpoint } from './endpoint.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const ScopeList = Type.Array(Type.Enum([...scopes]), { minItems: 1, maxItems: 20, uniqueItems: true })
const apiKey = {
  id: Id,
  name: Type.String(),
  prefix: Type.String({ description: 'The first characters, to recognise the key by' }),
  scopes: ScopeList,
  projectId: nullable(Id),
  createdAt: Time,
  expiresAt: nullable(Time),
  lastUsedAt: nullable(Time),
}
export const ApiKey = object(apiKey)
export type ApiKey = Static<typeof ApiKey>
export const NewApiKey = object({ ...apiKey, apiKey: Type.String({ description: 'The key itself; shown this once' }) })
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
    expiresAt: Type.Optional(Time),
  }),
  status: 201,
  reply: NewApiKey,
  errors: ['permission_denied', 'project_not_found'],
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
