import { apiKeyPattern } from '@hivesync/contracts/api-keys.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { type ErrorCode, errorCatalog } from '@hivesync/contracts/errors.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import { Problem } from '@hivesync/contracts/values.ts'

type Json = Record<string, unknown>
const ofEvery = ['invalid_request', 'internal'] as const
const ofBodies = ['malformed_json', 'duplicate_key', 'payload_too_large', 'unsupported_media_type'] as const
const ofUploads = ['payload_too_large', 'unsupported_media_type'] as const
const ofBearers = [
  'authentication_required',
  'invalid_token',
  'token_expired',
  'session_revoked',
  'permission_denied',
] as const
const ofSignatures = [
  'digest_mismatch',
  'signature_missing',
  'signature_malformed',
  'signature_components',
  'signature_invalid',
  'signature_expired',
  'signature_replayed',
  'worker_revoked',
] as const

/** The OpenAPI 3.1 document of every operation, made from the contracts themselves; JSON Schema 2020-12 is its schema language. */
export function openApiDocument(publicUrl: string): Json {
  const paths: Record<string, Json> = {}
  for (const operation of operations.values()) {
    const path = operation.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describe(operation) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'HiveSync', version: '1', description: 'Queue jobs and run them in a sandbox on machines you own.' },
    servers: [{ url: publicUrl }],
    components: {
      schemas: { Problem },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          // The exact form and checksum, for secret scanners.
          description: `An access token or an API key: ${apiKeyPattern}, the last 6 characters of which are the CRC-32 of all before them in base 62 (0-9A-Za-z, most significant first)`,
        },
        workerSignature: {
          type: 'apiKey',
          in: 'header',
          name: 'Signature',
          description: 'RFC 9421, Ed25519, tag hivesync-worker',
        },
      },
    },
    paths,
  }
}

function describe(operation: Endpoint): Json {
  const result: Json = {
    operationId: operation.name,
    summary: operation.summary,
    'x-access': operation.access,
    'x-rate-limit': operation.limit,
    security:
      operation.access === 'public' ? [] : [operation.access === 'worker' ? { workerSignature: [] } : { bearer: [] }],
    parameters: [
      ...parametersIn('path', operation.params),
      ...parametersIn('query', operation.query),
      ...(operation.stepUp ? [stepUpHeader] : []),
    ],
    responses: {
      [operation.status]: successOf(operation),
      ...(operation.emptyStatus !== undefined && { [operation.emptyStatus]: { description: 'Success, no body' } }),
      ...refusalsOf(operation),
    },
  }
  if (operation.upgrade !== undefined) result['x-upgrade'] = operation.upgrade
  if (operation.body !== undefined) {
    result.requestBody = { required: true, content: { 'application/json': { schema: operation.body } } }
    result['x-max-body-bytes'] = operation.maxBodyBytes ?? 64 * 1024
  }
  if (operation.consumes !== undefined) {
    result.requestBody = { required: true, content: { [operation.consumes]: {} } }
    result['x-max-body-bytes'] = operation.maxBodyBytes
  }
  return result
}

function parametersIn(place: 'path' | 'query', schema: Endpoint['params']): Json[] {
  if (schema === undefined) return []
  const required = new Set<string>('required' in schema && Array.isArray(schema.required) ? schema.required : [])
  return Object.entries(schema.properties).map(([name, value]) => ({
    name,
    in: place,
    required: required.has(name),
    schema: value,
  }))
}

function successOf(operation: Endpoint): Json {
  if (operation.reply !== null)
    return { description: 'Success', content: { 'application/json': { schema: operation.reply } } }
  if (operation.produces !== undefined) return { description: 'Success', content: { [operation.produces]: {} } }
  return { description: 'Success, no body' }
}

function refusalsOf(operation: Endpoint): Json {
  const byStatus = new Map<number, string[]>()
  for (const code of codesOf(operation)) {
    const [status] = errorCatalog[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const entries = [...byStatus].map(([status, listed]) => [
    status,
    {
      description: listed.join(', '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  ])
  return Object.fromEntries(entries)
}

const stepUpHeader = {
  name: 'Step-Up',
  in: 'header',
  required: true,
  schema: { type: 'string' },
  description: 'The fresh proof of the person for exactly this request, from `POST /api/v1/auth/step-up`',
}

/** Every refusal the operation can answer with: its own, and those of what stands before it. */
export function codesOf(operation: Endpoint): ReadonlySet<ErrorCode> {
  const proofs = operation.access === 'worker' ? ofSignatures : operation.access === 'public' ? [] : ofBearers
  return new Set<ErrorCode>([
    ...ofEvery,
    ...(operation.body === undefined ? [] : ofBodies),
    ...(operation.consumes === undefined ? [] : ofUploads),
    ...proofs,
    ...(operation.stepUp ? (['step_up_required'] as const) : []),
    ...(operation.upgrade === undefined ? [] : (['origin_refused', 'websocket_version'] as const)),
    ...(operation.limit === 'none' ? [] : (['rate_limited'] as const)),
    ...operation.errors,
  ])
}
