import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { rootCertificates } from 'node:tls'
import type { Clock } from '../clock.ts'

/** No answer came: the server or the way to it is away, too slow, or talks something else than HTTP. */
export class ServerAway extends Error {
  constructor(reason: string, cause?: unknown) {
    super(reason, { cause })
    this.name = 'ServerAway'
  }
}

/** A body that is read while it is sent. */
export interface WireContent {
  bytes: number
  open(): Readable
}

export interface WireRequest {
  method: 'POST' | 'PUT' | 'GET'
  /** Path and query. */
  target: string
  headers: Readonly<Record<string, string>>
  body: Buffer | WireContent
  /** For the whole exchange, so that a trickling answer cannot hold it open. */
  timeoutMs: number
  maxReplyBytes: number
  /** Takes the body of a reply 200 as it comes, instead of having it collected. */
  receive?: ((content: AsyncIterable<Buffer>) => Promise<void>) | undefined
  signal?: AbortSignal | undefined
}

export interface WireReply {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

export interface Transport {
  /** One exchange; redirects are answers like any other. Throws ServerAway, or the signal's reason when aborted. */
  send(request: WireRequest): Promise<WireReply>
  close(): void
}

// Node's own clients instead of undici: 26 MB less memory in an idle worker (measured), for the same keep-alive.
const agentOptions = { keepAlive: true, maxFreeSockets: 8, timeout: 60_000 }
const maxHeaderSize = 16 * 1024

/** Keep-alive connections to one origin; `ca` is PEM trusted beside Node's own root certificates. */
export function createTransport(options: { origin: string; ca?: string | undefined; clock: Clock }): Transport {
  const { origin, clock } = options
  const isTls = origin.startsWith('https:')
  const agent = isTls
    ? new HttpsAgent({ ...agentOptions, ...(options.ca && { ca: [...rootCertificates, options.ca] }) })
    : new HttpAgent(agentOptions)
  const open = (target: string, init: RequestOptions) =>
    isTls ? httpsRequest(new URL(target, origin), init) : httpRequest(new URL(target, origin), init)

  async function send(request: WireRequest): Promise<WireReply> {
    request.signal?.throwIfAborted()
    const over = new AbortController()
    const cancel = () => over.abort(request.signal?.reason)
    request.signal?.addEventListener('abort', cancel)
    const timer = new AbortController()
    void clock.wait(request.timeoutMs, timer.signal).then(() => {
      if (!timer.signal.aborted) over.abort(new ServerAway(`no answer within ${request.timeoutMs} ms`))
    })
    try {
      return await exchange(request, over.signal)
    } finally {
      timer.abort()
      request.signal?.removeEventListener('abort', cancel)
    }
  }

  function exchange(request: WireRequest, signal: AbortSignal): Promise<WireReply> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...request.headers,
        'content-length': String(Buffer.isBuffer(request.body) ? request.body.length : request.body.bytes),
        'accept-encoding': 'identity',
      }
      const outgoing = open(request.target, { method: request.method, agent, headers, maxHeaderSize })
      const fail = (error: unknown): void => {
        signal.removeEventListener('abort', abort)
        outgoing.destroy()
        reject(error)
      }
      const abort = () => fail(signal.reason)
      signal.addEventListener('abort', abort)
      outgoing.once('error', (error) => fail(new ServerAway(codeOf(error), error)))
      outgoing.once('response', (incoming) => {
        const { receive, maxReplyBytes } = request
        const isWanted = receive !== undefined && incoming.statusCode === 200
        const taken = isWanted ? receive(readBody(incoming)).then(() => empty) : collect(incoming, maxReplyBytes)
        taken.then((body) => {
          signal.removeEventListener('abort', abort)
          // Refused before it was sent whole: the rest is for nobody.
          if (!outgoing.writableFinished) outgoing.destroy()
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body })
        }, fail)
      })
      sendBody(outgoing, request.body, fail)
    })
  }

  return { send, close: () => agent.destroy() }
}

function sendBody(outgoing: ClientRequest, body: WireRequest['body'], fail: (error: unknown) => void): void {
  if (Buffer.isBuffer(body)) {
    outgoing.end(body)
    return
  }
  const source = body.open()
  // What this machine cannot read is no fault of the server's.
  source.once('error', fail)
  outgoing.once('close', () => source.destroy())
  source.pipe(outgoing)
}

const empty = Buffer.alloc(0)

async function* readBody(incoming: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* incoming as AsyncIterable<Buffer>
  } catch (error) {
    throw new ServerAway(codeOf(error), error)
  }
}

/** A whole reply body; a server cannot fill the worker's memory with a longer one. */
async function collect(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of readBody(incoming)) {
    length += chunk.length
    if (length > maxBytes) throw new ServerAway(`the answer is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return error instanceof Error ? error.message : 'no answer'
}
