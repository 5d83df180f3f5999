import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Config } from '../config.ts'
import { AppError } from '../errors.ts'
import type { Cors } from './cors.ts'
import { matches } from './methods.ts'

/** Named by clients that can set no header: a browser's, whose token comes as a second protocol, for an address ends up in logs. */
const protocol = 'hivesync.v1'
const tokenPrefix = 'bearer.'
const tokenText = "[A-Za-z0-9!#$%&'*+.^_`|~-]+"
const protocolList = new RegExp(`^${tokenText}(?:[ \\t]*,[ \\t]*${tokenText})*$`)

/** Nobody has anything to say here but "close" and "ping". */
const maxMessageBytes = 4096
/** How long a client may take to answer a close before its socket is destroyed. */
const closeWithinMs = 2000

// Named first: its types do not know `closeTimeout` yet.
const options = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: maxMessageBytes,
  autoPong: false,
  closeTimeout: closeWithinMs,
  handleProtocols: (protocols: Set<string>) => (protocols.has(protocol) ? protocol : false),
} as const
const server = new WebSocketServer(options)
server.on('headers', (lines, request) => {
  lines.push(...(replyHeaders.get(request) ?? []))
})
const replyHeaders = new WeakMap<IncomingMessage, string[]>()

interface Upgrade {
  socket: Socket
  head: Buffer
  response: ServerResponse
  /** What follows a reply that refuses. */
  hangUp: () => void
}
const upgrades = new WeakMap<IncomingMessage, Upgrade>()

/** Whether a request's connection is to become a WebSocket. Elsewhere the wish is passed over and the request served as any other (RFC 9110 §7.8). */
export function isUpgrade({ raw }: FastifyRequest): boolean {
  return upgrades.has(raw)
}

/** What Node asks before it lets go of a connection. */
export function asksForWebSocket(request: IncomingMessage, endpoints: readonly Endpoint[]): boolean {
  const { method, headers, url = '' } = request
  if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return false
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return false
  const steps = (url.split('?')[0] ?? '').split('/')
  return endpoints.some(({ upgrade, path }) => upgrade !== undefined && matches(path.split('/'), steps))
}

/** Sends requests for an upgrade the way of every other request: limits, proofs and rights come first, and a refusal is a reply like any. */
export function routeUpgrades(app: FastifyInstance): void {
  app.server.on('upgrade', (request, stream, head) => {
    // What Node hands over here is the connection's own socket.
    const socket = stream as Socket
    socket.on('error', () => socket.destroy())
    // Sent behind a request that waits for its reply: that reply would be taken for this one's.
    if (Reflect.get(socket, '_httpMessage') != null) return void socket.destroy()
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    // Not `end`: nobody reads this socket, so that the client's own end would never be noticed.
    const hangUp = (): void => socket.destroySoon()
    response.once('finish', hangUp)
    upgrades.set(request, { socket, head, response, hangUp })
    app.routing(request, response)
  })
}

/** Refuses what no client of ours would send: a page of somebody else's, another version, a key or protocols that cannot be read. */
export function createHandshakeRule(config: Config, cors: Pick<Cors, 'isAllowed'>): (request: FastifyRequest) => void {
  const own = new URL(config.publicUrl).origin
  return (request) => {
    if (!isUpgrade(request)) return
    const { origin, host, 'sec-websocket-version': version, 'sec-websocket-key': key } = request.headers
    const isLocal = config.profile === 'local' && origin === `http://${host}`
    if (origin !== undefined && origin !== own && !isLocal && !cors.isAllowed(origin))
      throw new AppError('origin_refused')
    if (version !== '13') throw new AppError('websocket_version', {}, { headers: { 'sec-websocket-version': '13' } })
    if (!/^[+/0-9A-Za-z]{22}==$/.test(key ?? '')) throw new AppError('invalid_request')
    const listed = request.headers['sec-websocket-protocol']
    if (listed !== undefined && !protocolList.test(listed)) throw new AppError('invalid_request')
    const names = protocolsOf(request)
    if (new Set(names).size !== names.length) throw new AppError('invalid_request')
  }
}

function protocolsOf({ headers }: FastifyRequest): string[] {
  return headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
}

/** The credentials of an upgrade as the header Authorization would carry them; undefined where there are none among its protocols. */
export function authorizationOf(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers
  if (!isUpgrade(request)) return authorization
  const names = protocolsOf(request)
  const [token, ...others] = names.filter((name) => name.startsWith(tokenPrefix))
  if (token === undefined) return authorization
  // Two credentials: which one counts would be a guess.
  if (authorization !== undefined || others.length > 0 || !names.includes(protocol)) throw new AppError('invalid_token')
  return `Bearer ${token.slice(tokenPrefix.length)}`
}

/** Turns an admitted request's connection into a WebSocket. */
export function acceptWebSocket({ raw }: FastifyRequest, reply: FastifyReply): WebSocket {
  const upgrade = upgrades.get(raw)
  if (upgrade === undefined) throw new Error('the request asked for no WebSocket')
  const { socket, head, response, hangUp } = upgrade
  const headers = Object.entries(reply.getHeaders()).map(([name, value]) => `${name}: ${String(value)}`)
  replyHeaders.set(raw, headers)
  reply.hijack()
  response.off('finish', hangUp)
  response.detachSocket(socket)
  let accepted: WebSocket | undefined
  server.handleUpgrade(raw, socket, head, (each) => {
    accepted = each
  })
  if (accepted === undefined) throw new Error('the handshake was refused after it had been checked')
  return accepted
}
