import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Id, object } from './values.ts'

const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
/**
 * A name such as `registry.npmjs.org`, or `*.example.net` for all names below that one. Never an address: its last part begins with a letter. Only
 * port 443 is meant; others, and hosts of a private network, are for the worker's operator to open.
 */
export const EgressHost = Type.String({
  maxLength: 253,
  pattern: `^(\\*\\.)?(${label}\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`,
})
export const Egress = object({ hosts: Type.Array(EgressHost, { maxItems: 50, uniqueItems: true }) })
export type Egress = Static<typeof Egress>

const projectParams = object({ projectId: Id })

export const getEgress = endpoint({
  name: 'getEgress',
  summary: 'The hosts that jobs of a project may reach while their dependencies are installed',
  method: 'GET',
  path: '/api/v1/projects/:projectId/egress',
  access: 'projects:read',
  limit: 'read',
  params: projectParams,
  status: 200,
  reply: Egress,
  errors: ['project_not_found'],
})

export const setEgress = endpoint({
  name: 'setEgress',
  summary: 'Name all the hosts that jobs of a project may reach while their dependencies are installed; owners only',
  method: 'PUT',
  path: '/api/v1/projects/:projectId/egress',
  access: 'projects:write',
  limit: 'write',
  params: projectParams,
  body: Egress,
  status: 200,
  reply: Egress,
  errors: ['project_not_found', 'permission_denied'],
})
