import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from './random.ts'

/** How likely each trouble is for a request. */
export interface Weather {
  dropRequest: number
  dropReply: number
  duplicate: number
  /** The same bytes once more, long after the answer. */
  replay: number
  delay: number
}
const nothing: Weather = { dropRequest: 0, dropReply: 0, duplicate: 0, replay: 0, delay: 0 }
export const weathers = {
  clear: nothing,
  usual: { dropRequest: 0.005, dropReply: 0.01, duplicate: 0.02, replay: 0.01, delay: 0.05 },
  storm: { dropRequest: 0.1, dropReply: 0.1, duplicate: 0.1, replay: 0.05, delay: 0.3 },
} as const satisfies Record<string, Weather>

const maxDelayMs = 400
const replayAfterMs = 1500

export interface FaultyProxy {
  readonly url: string
  /** Troubles made so far, and the requests they were among. */
  readonly counts: Readonly<Record<keyof Weather | 'requests', number>>
  setWeather(weather: Weather): void
  close(): Promise<void>
}

interface Wire {
  method: string
  target: string
  headers: IncomingHttpHeaders
  body: Buffer
}

interface Reply {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** What stands between the run's clients and workers and its servers: it loses, repeats and delays whole requests. A client sees only real answers, or a broken connection. */
export async function startProxy(servers: () => readonly string[], random: Random): Promise<FaultyProxy> {
  let weather: Weather = nothing
  const counts = { requests: 0, dropRequest: 0, dropReply: 0, duplicate: 0, replay: 0, delay: 0 }
  const agent = new Agent({ keepAlive: true })
  const sockets = new Set<Socket>()
  const replays = new Set<NodeJS.Timeout>()
  let turn = 0

  /** Whether this request meets the trouble; each request draws once for each, so that the draws of a seed stay aligned. */
  const draw = (): Record<keyof Weather, boolean> => {
    const meets = (name: keyof Weather): boolean => random.chance(weather[name])
    const drawn = { dropRequest: meets('dropRequest'), dropReply: meets('dropReply'), duplicate: meets('duplicate') }
    const all = { ...drawn, replay: meets('replay'), delay: meets('delay') }
    counts.requests++
    for (const name of Object.keys(all) as (keyof Weather)[]) if (all[name]) counts[name]++
    return all
  }

  async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gone = new AbortController()
    outgoing.once('close', () => gone.abort())
    const wire = {
      method: incoming.method ?? '',
      target: incoming.url ?? '',
      headers: incoming.headers,
      body: await read(incoming),
    }
    const origins = servers()
    const origin = origins[turn++ % origins.length]
    const trouble = draw()
    if (trouble.delay) await delay(random.below(maxDelayMs))
    if (trouble.dropRequest || origin === undefined) return void incoming.socket.destroy()
    const answer = send(agent, origin, wire, gone.signal)
    // What nobody awaits may fail: it is the trouble, not the request.
    if (trouble.duplicate) send(agent, origin, wire).catch(() => {})
    if (trouble.replay) repeatLater(origins[turn % origins.length] ?? origin, wire)
    const { status, headers, body } = await answer
    if (trouble.dropReply) return void incoming.socket.destroy()
    outgoing.writeHead(status, withoutHop(headers)).end(body)
  }
  const repeatLater = (origin: string, wire: Wire): void => {
    const timer = setTimeout(() => {
      replays.delete(timer)
      send(agent, origin, wire, AbortSignal.timeout(replayAfterMs)).catch(() => {})
    }, replayAfterMs)
    replays.add(timer)
  }

  const server = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => incoming.socket.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    counts,
    setWeather(next) {
      weather = next
    },
    async close() {
      for (const timer of replays) clearTimeout(timer)
      agent.destroy()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function send(
  agent: Agent,
  origin: string,
  { method, target, headers, body }: Wire,
  signal?: AbortSignal,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = { method, agent, headers: withoutHop(headers), ...(signal && { signal }) }
    const outgoing = request(new URL(target, origin), options, (incoming) => {
      read(incoming).then(
        (text) => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }),
        reject,
      )
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

/** Headers of one connection, not of the message (RFC 9110 §7.6.1); the length stays, for bodies are passed whole. */
function withoutHop({
  connection,
  'keep-alive': _keepAlive,
  'transfer-encoding': _encoding,
  ...rest
}: IncomingHttpHeaders): IncomingHttpHeaders {
  return rest
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
