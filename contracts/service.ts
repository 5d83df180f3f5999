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
  summary: 'Every dependency works; otherwise 503 and which one does not',
  method: 'GET',
  path: '/ready',
  access: 'public',
  limit: 'none',
  status: 200,
  reply: object({ status: Type.Literal('ready') }),
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
