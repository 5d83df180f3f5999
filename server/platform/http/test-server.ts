// For tests of the HTTP layer: a server with routes of the test's own, reached through real sockets and by inject.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { nobody } from '../actor.ts'
import type { Clock } from '../clock.ts'
import { type Config, parseConfig } from '../config.ts'
import { createLogger } from '../logger.ts'
import { createMetrics } from '../metrics.ts'
import { createRandom } from '../random.ts'
import { createHttp, type Patience } from './http.ts'

export interface TestServer extends AsyncDisposable {
  readonly app: FastifyInstance
  readonly port: number
  /** Every log line so far. */
  readonly logged: string[]
  /** Sends bytes and gives all that comes back until the server closes the connection. */
  exchange(bytes: string): Promise<string>
  connect(): Promise<Socket>
}

export interface TestServerOptions {
  config?: Partial<Config>
  clock?: Clock
  patience?: Partial<Patience>
  authenticate?: Parameters<typeof createHttp>[1]['bearer']
  register(app: FastifyInstance): void
}

// Long enough that a slow machine never runs into it.
const unlimited: Patience = {
  headersMs: 300_000,
  requestMs: 600_000,
  uploadMs: 600_000,
  keepAliveMs: 300_000,
  checkMs: 1000,
}

/** Listens on a free port of the loopback; ends its connections with it. */
export async function openServer(options: TestServerOptions): Promise<TestServer> {
  const clock = options.clock ?? { now: Date.now }
  const logged: string[] = []
  const ctx = {
    config: { ...parseConfig({ HIVESYNC_RATE_SCALE: '1000000' }), ...options.config },
    clock,
    random: createRandom(clock),
    log: createLogger({ write: (line) => void logged.push(line) }),
    metrics: createMetrics(),
  }
  const bearer = options.authenticate ?? (() => nobody)
  const app = createHttp(
    ctx,
    { bearer, worker: async () => nobody, stepUp: async () => {} },
    { ...unlimited, ...options.patience },
  )
  options.register(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const { port } = address
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port })
    await once(socket, 'connect')
    return socket
  }
  return {
    app,
    port,
    logged,
    connect: open,
    async exchange(bytes) {
      const socket = await open()
      const reply = received(socket)
      socket.write(bytes, 'latin1')
      return reply
    },
    async [Symbol.asyncDispose]() {
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

/** All that a socket receives until it is closed, however it is closed. */
export function received(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {}) // a reset is an end like another; what counts is what was received
    socket.on('close', () => resolve(text))
  })
}

/** The statuses of the replies in what a connection received, in order. */
export function statusesIn(reply: string): number[] {
  return [...reply.matchAll(/(?<=^|\r\n\r\n|\})HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}
