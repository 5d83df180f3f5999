import { Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { object } from './values.ts'

export const getHealth = endpoint({
  name: 'getHealth',
  summary: 'The process is alive',
  method: 'GET',
  path: '/health',
  access: 'public',
  limit: 'none',
  status: 200,
  reply: object({ status: Type.Literal('ok') }),
  errors: [],
})

export const getReadiness = endpoint({
  name: 'getReadiness',
  summary: 'Whether the server can do its work, and what it does without; otherwise 503 and what is missing',
  method: 'GET',
  path: '/ready',
  access: 'public',
  limit: 'none',
  status: 200,
  reply: object({
    status: Type.Literal('ready'),
    degraded: Type.Optional(
      Type.Array(Type.String(), {
        description: 'What is away or unwell, and done without for now: redis, store, disk, schema, clock, audit',
      }),
    ),
  }),
  errors: ['not_ready'],
})

export const getOpenApi = endpoint({
  name: 'getOpenApi',
  summary: 'This document (OpenAPI 3.1)',
  method: 'GET',
  path: '/openapi.json',
  access: 'public',
  limit: 'read',
  status: 200,
  reply: null,
  produces: 'application/json',
  errors: [],
})

export const getLanding = endpoint({
  name: 'getLanding',
  summary: 'What this server is and where to go',
  method: 'GET',
  path: '/',
  access: 'public',
  limit: 'read',
  status: 200,
  reply: object({ name: Type.String(), description: Type.String(), auth: Type.String(), docs: Type.String() }),
  errors: [],
})
