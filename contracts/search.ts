import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Cursor, Id, nullable, object, page } from './values.ts'

export const SearchHit = object({
  projectId: Id,
  path: Type.String(),
  line: Type.Integer({ minimum: 1 }),
  excerpt: Type.String(),
  language: nullable(Type.String()),
})
export type SearchHit = Static<typeof SearchHit>

export const searchCode = endpoint({
  name: 'searchCode',
  summary: 'Lines of ingested code that contain a text, over the projects the actor may read; case is ignored',
  method: 'GET',
  path: '/api/v1/search',
  access: 'search:read',
  limit: 'read',
  query: object({
    q: Type.String({ minLength: 3, maxLength: 200, description: 'At least three characters' }),
    projectId: Type.Optional(Id),
    path: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'A part of the path' })),
    lang: Type.Optional(Type.String({ minLength: 1, maxLength: 40 })),
    limit: Type.Optional(Type.String({ pattern: '^([1-9]|[1-9][0-9]|1[0-9]{2}|200)$' })),
    cursor: Type.Optional(Cursor),
  }),
  status: 200,
  reply: page(SearchHit),
  errors: ['project_not_found'],
})
