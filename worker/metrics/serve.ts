import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { SelfReport } from '../claim/self-report.ts'
import type { Clock } from '../clock.ts'
import type { WorkerConfig } from '../config.ts'
import type { Logger } from '../logger.ts'
import type { ServerTime } from '../report/server-time.ts'
import type { Gauges, Metrics } from './metrics.ts'

const address = '127.0.0.1'
const deadlineMs = 5_000
/** A worker in touch polls or beats at least every 25 seconds. */
const silentMs = 90_000

export interface MetricsEndpoint {
  close(): Promise<void>
}

/**
 * Serves `GET /metrics` and `GET /health` to programs on this machine: on 127.0.0.1 only, and only to those that name it so.
 * A page in a browser that has its own name resolve to 127.0.0.1 (DNS rebinding) sends that name as Host and is refused.
 * Rejects when the port is taken.
 */
export function serveMetrics(options: {
  port: number
  text: () => string
  /** Undefined when all is well; else what is not. */
  trouble: () => string | undefined
}): Promise<MetricsEndpoint> {
  const { port, text, trouble } = options

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const say = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, {
        'content-type': type,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        connection: 'close',
      })
      response.end(request.method === 'HEAD' ? undefined : body)
    }
    if (!isOurName(request.headers.host, request.socket.localPort))
      return say(421, 'This is not served under that name\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'Only GET\n')
    if (request.url === '/metrics') return say(200, text(), 'text/plain; version=0.0.4; charset=utf-8')
    if (request.url !== '/health') return say(404, 'There are /metrics and /health\n')
    const problem = trouble()
    if (problem === undefined) say(200, 'ok\n')
    else say(503, `${problem}\n`)
  }

  const server = createServer({ maxHeaderSize: 8192, requestTimeout: deadlineMs, headersTimeout: deadlineMs }, answer)
  server.maxConnections = 16
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, () => {
      server.off('error', reject)
      resolve({
        close: () =>
          new Promise((done) => {
            server.close(() => done())
            server.closeAllConnections()
          }),
      })
    })
  })
}

function isOurName(host: string | undefined, port: number | undefined): boolean {
  return host === `${address}:${port}` || host === `localhost:${port}`
}

/** The endpoint of a worker, if it is to have one. A port that is taken is told in the log and costs the endpoint, not the worker. */
export async function openMetrics(
  { config, clock, log }: { config: WorkerConfig; clock: Clock; log: Logger },
  metrics: Metrics,
  worker: { says: SelfReport; time: ServerTime; running: () => number; undelivered: () => number },
): Promise<MetricsEndpoint | undefined> {
  const { says, time } = worker
  const port = config.metricsPort
  if (port === null) return undefined
  const silenceMs = () => (time.lastAnswerMs === undefined ? undefined : clock.monotonicMs() - time.lastAnswerMs)
  const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1000)
  const gauges = (): Gauges => ({
    slots: config.slots,
    running: worker.running(),
    outboxResults: worker.undelivered(),
    outboxBytes: says.storedBytes,
    taking: says.trouble === undefined,
    lastContactSeconds: seconds(silenceMs()),
    clockSkewSeconds: seconds(time.skewMs),
  })
  const trouble = () => ((silenceMs() ?? Infinity) > silentMs ? 'the server does not answer' : says.trouble)
  try {
    const endpoint = await serveMetrics({ port, text: () => metrics.text(gauges()), trouble })
    log.info('metrics_served', { port })
    return endpoint
  } catch (error) {
    log.error('metrics_not_served', { port }, error)
    return undefined
  }
}
