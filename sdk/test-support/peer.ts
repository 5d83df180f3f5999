import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { BodyOf, Endpoint, ParamsOf, QueryOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import { type ErrorCode, errorCatalog } from '@hivesync/contracts/errors.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import { conforms, faultsOf, type TSchema } from '@hivesync/contracts/schema.ts'

export interface PeerRequest<E> {
  params: ParamsOf<E>
  query: QueryOf<E>
  body: BodyOf<E>
  headers: IncomingMessage['headers']
}

/** What an operation of the peer answers with instead of its reply. */
export class Refusal extends Error {
  readonly code: ErrorCode
  readonly headers: Record<string, string>
  constructor(code: ErrorCode, headers: Record<string, string> = {}) {
    super(code)
    this.code = code
    this.headers = headers
  }
}

type Handler = (request: IncomingMessage, response: ServerResponse, params: Record<string, string>) => Promise<void>

/** A server on loopback that holds clients to the contracts: what does not match fails the test at `close`. */
export interface Peer extends AsyncDisposable {
  readonly url: string
  /** `METHOD path` of every request, in order. */
  readonly seen: string[]
  on<const E extends Endpoint>(endpoint: E, verb: (request: PeerRequest<E>) => ReplyOf<E> | Promise<ReplyOf<E>>): void
  onRaw(endpoint: Endpoint, handler: (request: IncomingMessage, response: ServerResponse) => void): void
}

export async function startPeer(): Promise<Peer> {
  const handlers = new Map<string, Handler>()
  const faults: string[] = []
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    const found = route(request)
    const handler = found === undefined ? undefined : handlers.get(found.endpoint.name)
    if (found === undefined || handler === undefined) return sendProblem(response, 'not_found')
    handler(request, response, found.params).catch((error: unknown) => {
      if (error instanceof Refusal) return sendProblem(response, error.code, error.headers)
      faults.push(String(error))
      sendProblem(response, 'invalid_request')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    on(endpoint, verb) {
      handlers.set(endpoint.name, async (request, response, params) => {
        const given = await readRequest(endpoint, request, params)
        const reply = await verb({ ...given, headers: request.headers } as PeerRequest<typeof endpoint>)
        if (endpoint.reply === null) return void response.writeHead(endpoint.status).end()
        requireValid(`reply of ${endpoint.name}`, endpoint.reply, reply)
        response.writeHead(endpoint.status, { 'content-type': 'application/json; charset=utf-8' })
        response.end(JSON.stringify(reply))
      })
    },
    onRaw(endpoint, handler) {
      handlers.set(endpoint.name, async (request, response) => handler(request, response))
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      assert.deepEqual(faults, [])
    },
  }
}

function route(request: IncomingMessage): { endpoint: Endpoint; params: Record<string, string> } | undefined {
  const { pathname } = new URL(request.url ?? '/', 'http://peer')
  for (const endpoint of operations.values()) {
    const pattern = new RegExp(`^${endpoint.path.replaceAll('.', '\\.').replace(/:([A-Za-z]+)/g, '(?<$1>[^/]+)')}$`)
    const match = endpoint.method === request.method ? pattern.exec(pathname) : null
    if (match !== null) return { endpoint, params: { ...match.groups } }
  }
  return undefined
}

async function readRequest(endpoint: Endpoint, request: IncomingMessage, params: Record<string, string>) {
  const { searchParams } = new URL(request.url ?? '/', 'http://peer')
  const query = Object.fromEntries(searchParams)
  const body: unknown = endpoint.body === undefined ? undefined : await json(request)
  if (endpoint.params !== undefined) requireValid(`params of ${endpoint.name}`, endpoint.params, params)
  if (endpoint.query === undefined) assert.deepEqual(query, {}, `query of ${endpoint.name}`)
  else requireValid(`query of ${endpoint.name}`, endpoint.query, query)
  if (endpoint.body !== undefined) {
    assert.equal(request.headers['content-type'], 'application/json')
    requireValid(`body of ${endpoint.name}`, endpoint.body, body)
  }
  return { params, query, body }
}

function requireValid(what: string, schema: TSchema, value: unknown): void {
  assert.ok(conforms(schema, value), `${what}: ${JSON.stringify(faultsOf(schema, value))}`)
}

function sendProblem(response: ServerResponse, code: ErrorCode, headers: Record<string, string> = {}): void {
  const [status, title] = errorCatalog[code]
  response.writeHead(status, { 'content-type': 'application/problem+json', ...headers })
  response.end(JSON.stringify({ type: `urn:hivesync:error:${code}`, title, status, code, requestId: 'req-1' }))
}
