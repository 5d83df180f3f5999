import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { conforms, faultsOf } from '@hivesync/contracts/schema.ts'
import { HiveSyncError } from './error.ts'
import type { ServerAddress } from './server-address.ts'

/** What a caller may hand over, before its types are narrowed by the contract. */
export interface RequestInput {
  params?: unknown
  query?: unknown
  body?: unknown
  /** The body of an operation that takes bytes. */
  content?: Blob | undefined
  idempotencyKey?: string | undefined
  stepUp?: string | undefined
  signal?: AbortSignal | undefined
}

export interface PreparedRequest {
  url: string
  method: string
  headers: Record<string, string>
  body?: string | Blob
}

/**
 * Writes a request as its contract states it. Path and query are checked here, too: `..` as an id would address another
 * operation. Throws `invalid_request` with the fields, as the server would.
 */
export function prepareRequest(server: ServerAddress, endpoint: Endpoint, input: RequestInput): PreparedRequest {
  const params = requireValid(endpoint, 'params', input.params)
  const query = requireValid(endpoint, 'query', input.query)
  const path = endpoint.path.replace(/:([A-Za-z]+)/g, (_, name: string) => encodeURIComponent(String(params[name])))
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  const request: PreparedRequest = {
    url: `${server}${path}${search.size === 0 ? '' : `?${search}`}`,
    method: endpoint.method,
    headers: { accept: endpoint.produces ?? 'application/json' },
  }
  const body = writeBody(endpoint, input.body)
  if (body !== undefined) {
    request.headers['content-type'] = 'application/json'
    request.body = body
  }
  if (endpoint.consumes !== undefined && input.content !== undefined) {
    request.headers['content-type'] = endpoint.consumes
    request.body = input.content
  }
  if (input.stepUp !== undefined) request.headers['step-up'] = input.stepUp
  if (input.idempotencyKey !== undefined) request.headers['idempotency-key'] = input.idempotencyKey
  return request
}

/** The one way a body is written: the proof of a sensitive act is bound to its bytes. */
export function writeBody(endpoint: Endpoint, body: unknown): string | undefined {
  return endpoint.body === undefined ? undefined : JSON.stringify(body)
}

function requireValid(endpoint: Endpoint, part: 'params' | 'query', value: unknown = {}): Record<string, unknown> {
  const schema = endpoint[part]
  if (schema === undefined) return {}
  // An absent optional member is often written as `undefined`; on the wire it does not exist.
  const given = Object.fromEntries(Object.entries(Object(value)).filter(([, member]) => member !== undefined))
  if (conforms(schema, given)) return given
  throw new HiveSyncError('invalid_request', {
    title: 'The request does not match the contract',
    fields: faultsOf(schema, given).map(({ path, message }) => ({ path: `${part}${path}`, message })),
  })
}
