import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { FilePath } from './job-kinds.ts'
import { Count, Id, object, PageQuery, page, Time } from './values.ts'
import { leaseParams } from './worker-protocol.ts'

export const Sha256 = Type.String({ description: 'SHA-256 in lower-case hex', pattern: '^[0-9a-f]{64}$' })
/** The largest file that a job may leave behind. */
export const maxArtifactBytes = 2_000_000_000

export const Artifact = object({
  id: Id,
  jobId: Id,
  attempt: Count,
  path: Type.String(),
  bytes: Count,
  sha256: Sha256,
  createdAt: Time,
  expiresAt: Time,
})
export type Artifact = Static<typeof Artifact>

export const listArtifacts = endpoint({
  name: 'listArtifacts',
  summary: 'The files that a job left behind, with size and digest, first to last',
  method: 'GET',
  path: '/api/v1/jobs/:jobId/artifacts',
  access: 'jobs:read',
  limit: 'read',
  params: object({ jobId: Id }),
  query: object(PageQuery),
  status: 200,
  reply: page(Artifact),
  errors: ['job_not_found'],
})

const artifactParams = object({ artifactId: Id })
const UrlMethod = Type.Enum(['GET', 'HEAD'])

export const createArtifactUrl = endpoint({
  name: 'createArtifactUrl',
  summary: 'A link to one artifact that works for five minutes, for this artifact and method only, without a token',
  method: 'POST',
  path: '/api/v1/artifacts/:artifactId/url',
  access: 'jobs:read',
  limit: 'write',
  params: artifactParams,
  query: object({ method: Type.Optional(UrlMethod) }),
  status: 200,
  reply: object({ url: Type.String(), expiresAt: Time }),
  errors: ['artifact_not_found'],
})

/** What `createArtifactUrl` writes into the link. */
const signedQuery = object({
  method: UrlMethod,
  expires: Type.String({ description: 'Epoch seconds', pattern: '^[1-9][0-9]{9}$' }),
  signature: Type.String({ pattern: '^[A-Za-z0-9._-]{1,100}$' }),
})

export const getArtifactContent = endpoint({
  name: 'getArtifactContent',
  summary:
    'The bytes of an artifact, or one range of them, always as a download; only by the link that was signed for it',
  method: 'GET',
  path: '/api/v1/artifacts/:artifactId/content',
  access: 'public',
  limit: 'read',
  params: artifactParams,
  query: signedQuery,
  status: 200,
  reply: null,
  produces: 'application/octet-stream',
  errors: ['invalid_artifact_url', 'range_not_satisfiable', 'storage_unavailable'],
})

export const headArtifactContent = endpoint({
  ...getArtifactContent,
  name: 'headArtifactContent',
  summary: 'Size and digest of an artifact; only by the link that was signed for it and for HEAD',
  method: 'HEAD',
})

export const DeclaredArtifact = object({
  path: FilePath,
  bytes: Type.Integer({ minimum: 0, maximum: maxArtifactBytes }),
  sha256: Sha256,
})
export type DeclaredArtifact = Static<typeof DeclaredArtifact>

export const declareArtifacts = endpoint({
  name: 'declareArtifacts',
  summary:
    'Say which files a held lease will upload; their bytes count against the team’s storage from now on. Said again it answers alike',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/artifacts',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object({ artifacts: Type.Array(DeclaredArtifact, { minItems: 1, maxItems: 1000 }) }),
  maxBodyBytes: 1024 * 1024,
  status: 200,
  reply: object({ artifacts: Type.Array(object({ id: Id, path: Type.String(), url: Type.String() })) }),
  errors: ['lease_lost', 'storage_full', 'artifact_conflict'],
})

export const uploadArtifact = endpoint({
  name: 'uploadArtifact',
  summary:
    'The bytes of a declared file, exactly as declared; sent again they are stored once. Visible once the lease completes',
  method: 'PUT',
  path: '/api/v1/worker/leases/:token/artifacts/:artifactId/content',
  access: 'worker',
  limit: 'worker',
  params: object({ ...leaseParams.properties, artifactId: Id }),
  consumes: 'application/octet-stream',
  maxBodyBytes: maxArtifactBytes,
  status: 204,
  reply: null,
  errors: ['lease_lost', 'artifact_not_found', 'artifact_mismatch', 'storage_unavailable'],
})
