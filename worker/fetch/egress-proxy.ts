import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { decideEgress, destinationOf, type EgressPolicy } from './egress-decision.ts'
import { createTlsGate } from './tls-gate.ts'

export interface EgressLimits {
  /** All tunnels of this proxy together, from the servers to the sandbox. */
  maxBytesDown: number
  /** All tunnels of this proxy together, from the sandbox to the servers. */
  maxBytesUp: number
  maxTunnels: number
  /** From accepting a client to its complete CONNECT request. */
  handshakeMs: number
  /** For resolving the name, and again for each address tried. */
  connectMs: number
  idleMs: number
  tunnelMs: number
}

/** git holds one or two connections at a time and sends little; the download cap is the mirror's and always given. */
export const defaultEgressLimits = {
  maxBytesUp: 64 * 1024 * 1024,
  maxTunnels: 8,
  handshakeMs: 5_000,
  connectMs: 10_000,
  idleMs: 60_000,
  tunnelMs: 3_600_000,
} as const satisfies Omit<EgressLimits, 'maxBytesDown'>

export interface EgressDecision {
  host: string
  port: number
  address: string | null
  allowed: boolean
  reason: string
}

export interface EgressProxyOptions extends EgressPolicy {
  limits: EgressLimits
  /** Refuses tunnels that carry anything but TLS. Where TLS is seen its server name must be the tunnel's host in any case. */
  requireTls?: boolean
  /** Called for each request, and again when an allowed tunnel is cut (`bytes_down`, `bytes_up`, `idle`, `tunnel_time`, or by the TLS gate). */
  onDecision: (decision: EgressDecision) => void
  /** Where the socket's own folder is made; short, because a socket's path has at most 107 bytes (unix(7)). */
  parentFolder?: string
}

export interface EgressProxy {
  readonly socketPath: string
  readonly bytesDown: number
  readonly bytesUp: number
  /** Cuts every tunnel and removes the socket. */
  close(): Promise<void>
}

interface Tunnels {
  options: EgressProxyOptions
  open: Set<Duplex>
  count: number
  bytes: { down: number; up: number }
}

/**
 * Opens the only way out of a fetch sandbox: an HTTP proxy on a UNIX socket that answers nothing but CONNECT to the
 * allowed destinations, after checking every resolved address, and connects to exactly the address it checked.
 * TLS stays end to end between git and the server. Errors: the folder or socket cannot be made.
 */
export async function openEgressProxy(options: EgressProxyOptions): Promise<EgressProxy> {
  const folder = await mkdtemp(join(options.parentFolder ?? tmpdir(), 'hs-egress-')) // 0700: /proc/net/unix tells everybody the path; the sandbox lends it to its job
  const socketPath = join(folder, 'proxy.sock')
  const tunnels: Tunnels = { options, open: new Set(), count: 0, bytes: { down: 0, up: 0 } }
  const server = createProxyServer(tunnels)
  try {
    await listen(server, socketPath)
  } catch (error) {
    server.close()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    socketPath,
    get bytesDown() {
      return tunnels.bytes.down
    },
    get bytesUp() {
      return tunnels.bytes.up
    },
    async close() {
      for (const stream of tunnels.open) stream.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function createProxyServer(tunnels: Tunnels): Server {
  const { limits, onDecision } = tunnels.options
  const server = createServer({
    headersTimeout: limits.handshakeMs,
    requestTimeout: limits.handshakeMs,
    connectionsCheckingInterval: Math.min(1_000, limits.handshakeMs), // half-open and trickled handshakes are found by this timer
    maxHeaderSize: 8 * 1024,
    keepAliveTimeout: 1,
  })
  server.maxConnections = limits.maxTunnels * 2
  server.on('request', (request, response) => {
    onDecision({ host: '', port: 0, address: null, allowed: false, reason: 'method' })
    request.resume()
    response.writeHead(405, { allow: 'CONNECT', connection: 'close' }).end()
  })
  server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    tunnels.open.add(client)
    client.once('close', () => tunnels.open.delete(client))
    client.on('error', () => client.destroy())
    serveTunnel(request.url ?? '', client, head, tunnels).catch(() => client.destroy())
  })
  server.on('clientError', (_error, client) => {
    client.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n', () => client.destroy())
  })
  return server
}

async function serveTunnel(authority: string, client: Duplex, head: Buffer, tunnels: Tunnels): Promise<void> {
  const { options } = tunnels
  if (tunnels.count >= options.limits.maxTunnels) {
    options.onDecision({ host: '', port: 0, address: null, allowed: false, reason: 'tunnel_limit' })
    return answer(client, '503 Service Unavailable')
  }
  tunnels.count += 1
  try {
    const verdict = await withinTime(decideEgress(authority, options), options.limits.connectMs)
    if (verdict === 'late') {
      options.onDecision({ ...destinationOf(authority), address: null, allowed: false, reason: 'resolve_time' })
      return answer(client, '504 Gateway Timeout')
    }
    if (!verdict.allowed) {
      options.onDecision(verdict)
      const status = verdict.reason === 'malformed' ? '400 Bad Request' : '403 Forbidden'
      return answer(client, verdict.reason === 'name_not_resolved' ? '502 Bad Gateway' : status)
    }
    if (client.destroyed) return // nothing would close the connection of a job that has ended meanwhile
    const { host, port } = verdict
    const reached = await connectToOneOf(verdict.addresses, port, options.limits.connectMs, tunnels)
    if (!reached) {
      const address = verdict.addresses[0] ?? null
      options.onDecision({ host, port, address, allowed: false, reason: 'connect_failed' })
      return answer(client, '502 Bad Gateway')
    }
    const decision = { host, port, address: reached.address, allowed: true, reason: 'allowed' }
    options.onDecision(decision)
    await relay(client, head, { socket: reached.socket, host }, tunnels, (reason) => {
      options.onDecision({ ...decision, allowed: false, reason })
    })
  } finally {
    tunnels.count -= 1
  }
}

/** Carries bytes until either side ends; `onCut` hears why the proxy itself ended it, if it did. */
async function relay(
  client: Duplex,
  head: Buffer,
  { socket: upstream, host }: { socket: Socket; host: string },
  tunnels: Tunnels,
  onCut: (reason: string) => void,
): Promise<void> {
  const { limits, requireTls = false } = tunnels.options
  let isCut = false
  const end = (reason: string) => {
    if (!isCut) onCut(reason)
    isCut = true
    upstream.destroy()
    client.destroy()
  }
  const timer = setTimeout(end, limits.tunnelMs, 'tunnel_time')
  upstream.setTimeout(limits.idleMs, () => end('idle'))
  client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
  if (head.length > 0) client.unshift(head)
  try {
    await Promise.all([
      pipeline(
        client,
        createTlsGate({ host, requireTls, refuse: end }),
        meter(tunnels.bytes, 'up', limits.maxBytesUp, end),
        upstream,
      ),
      pipeline(upstream, meter(tunnels.bytes, 'down', limits.maxBytesDown, end), client),
    ])
  } catch {
    // A reset by either side ends the tunnel like a close: git sees it and says what it was doing.
  } finally {
    clearTimeout(timer)
    upstream.destroy()
    client.destroy()
  }
}

function meter(
  bytes: Tunnels['bytes'],
  way: 'up' | 'down',
  maxBytes: number,
  end: (reason: string) => void,
): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes[way] += chunk.length
      if (bytes[way] <= maxBytes) return done(null, chunk)
      end(`bytes_${way}`)
      done()
    },
  })
}

/** Tries the checked addresses in turn; these literals are what is connected to, no name is looked up again. */
async function connectToOneOf(
  addresses: readonly string[],
  port: number,
  timeoutMs: number,
  tunnels: Tunnels,
): Promise<{ socket: Socket; address: string } | undefined> {
  for (const address of addresses.slice(0, 4)) {
    const socket = connect({ host: address, port, noDelay: true })
    tunnels.open.add(socket)
    socket.once('close', () => tunnels.open.delete(socket))
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.setTimeout(timeoutMs, () => resolve(false))
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
    })
    socket.setTimeout(0)
    socket.removeAllListeners('timeout')
    socket.on('error', () => socket.destroy())
    if (isOpen) return { socket, address }
    socket.destroy()
  }
  return undefined
}

async function withinTime<T>(work: Promise<T>, timeoutMs: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, 'late')
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function answer(client: Duplex, status: string): void {
  client.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`, () => client.destroy())
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
