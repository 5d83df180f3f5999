import { type Static, Type } from 'typebox'
import { Sha256 } from './artifacts.ts'
import { endpoint } from './endpoint.ts'
import { maxBundleBytes } from './tiers.ts'
import { Count, Id, object, PageQuery, page, Time } from './values.ts'
import { leaseParams } from './worker-protocol.ts'

export const Bundle = object({
  id: Id,
  projectId: Id,
  bytes: Count,
  unpackedBytes: Type.Integer({ minimum: 0, description: 'Length of the tar archive' }),
  entries: Count,
  sha256: Sha256,
  createdAt: Time,
  expiresAt: Time,
})
export type Bundle = Static<typeof Bundle>

const projectParams = object({ projectId: Id })

export const createBundle = endpoint({
  name: 'createBundle',
  summary:
    'Upload the sources of jobs as a tar or tar.gz archive of plain files and folders; it is kept for seven days',
  method: 'POST',
  path: '/api/v1/projects/:projectId/bundles',
  access: 'jobs:write',
  limit: 'write',
  params: projectParams,
  consumes: 'application/octet-stream',
  /** The largest plan's; a smaller plan's own limit is refused alike. */
  maxBodyBytes: maxBundleBytes,
  status: 201,
  reply: Bundle,
  errors: [
    'project_not_found',
    'permission_denied',
    'project_archived',
    'bundle_refused',
    'storage_full',
    'storage_unavailable',
    'overloaded',
  ],
})

export const listBundles = endpoint({
  name: 'listBundles',
  summary: 'The bundles of a project, newest first',
  method: 'GET',
  path: '/api/v1/projects/:projectId/bundles',
  access: 'jobs:read',
  limit: 'read',
  params: projectParams,
  query: object(PageQuery),
  status: 200,
  reply: page(Bundle),
  errors: ['project_not_found'],
})

export const deleteBundle = endpoint({
  name: 'deleteBundle',
  summary: 'Delete a bundle that no open job needs',
  method: 'DELETE',
  path: '/api/v1/bundles/:bundleId',
  access: 'jobs:write',
  limit: 'write',
  params: object({ bundleId: Id }),
  status: 204,
  reply: null,
  errors: ['bundle_not_found', 'permission_denied', 'bundle_in_use'],
})

export const fetchBundle = endpoint({
  name: 'fetchBundle',
  summary: 'The bundle of the job that a held lease runs, as a stream',
  method: 'GET',
  path: '/api/v1/worker/leases/:token/bundle',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  status: 200,
  reply: null,
  produces: 'application/octet-stream',
  errors: ['lease_lost', 'bundle_not_found', 'storage_unavailable'],
})
