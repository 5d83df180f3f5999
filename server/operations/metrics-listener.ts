import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isLoopback } from '../platform/config.ts'
import { type MetricsPage, metricsType } from './metrics.ts'

const deadlineMs = 10_000
/** Prometheus opens one; more than a few are somebody else. */
const maxConnections = 16

export interface MetricsListener {
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves `GET /metrics`, and nothing else, to whoever reaches the address: no credentials, so it is 127.0.0.1 unless the operator says otherwise. There, requests
 * that name another host are refused: a page in a browser may have its own name lead to 127.0.0.1 (DNS rebinding). Rejects when the port is taken.
 */
export async function listenForMetrics(
  { host, port }: { host: string; port: number },
  page: MetricsPage,
): Promise<MetricsListener> {
  const server = createServer(
    { maxHeaderSize: 8192, requestTimeout: deadlineMs, headersTimeout: deadlineMs },
    (request, response) => {
      answer(request, response).catch(() => response.destroy())
    },
  )
  server.maxConnections = maxConnections

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, {
        ...{ 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' },
        ...(status === 405 && { allow: 'GET' }),
        connection: 'close',
      })
      response.end(body)
    }
    if (isLoopback(host) && !isOurName(request)) return say(421, 'This is not served under that name\n')
    if (request.url !== '/metrics') return say(404, 'There is /metrics\n')
    if (request.method !== 'GET') return say(405, 'Only GET\n')
    say(200, await page.text(), metricsType)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    url: urlOf(server),
    close: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

function isOurName({ headers, socket }: IncomingMessage): boolean {
  const name = URL.parse(`http://${headers.host ?? ''}`)
  return (
    name !== null && isLoopback(name.hostname.replace(/^\[|\]$/g, '')) && Number(name.port || 80) === socket.localPort
  )
}

function urlOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listener without an address')
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}/metrics`
}
