import { createConnection, type Socket } from 'node:net'

export interface Answer {
  status: number
  body: string
}

export interface Wire {
  method: string
  target: string
  headers?: Readonly<Record<string, string>>
  body?: Buffer
}

/**
 * Keep-alive connections to one server on this machine, one request at a time on each. Written for load: node:http's client costs more CPU
 * than the server under test, and on two cores would be what is measured. Understands what the servers measured here send, bodies with a
 * Content-Length or in chunks, and throws at anything else.
 */
export interface Client {
  send(wire: Wire): Promise<Answer>
  /** Sends bytes that `encodeRequest` has made before. */
  sendEncoded(request: Buffer): Promise<Answer>
  /** What still waits for an answer then never gets one: a long poll, say, that nobody asks about any more. */
  close(): void
}

const usualTimeoutMs = 60_000

export function encodeRequest({ method, target, headers = {}, body }: Wire): Buffer {
  const length = body === undefined ? [] : [`content-length: ${body.length}`]
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const head = [`${method} ${target} HTTP/1.1`, 'host: localhost', ...fields, ...length, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), body ?? Buffer.alloc(0)])
}

/** Connections to the server of the URL, from `localAddress` where this machine has several. */
export function openClient(url: string, options: LineOptions = {}): Client {
  const idle: Line[] = []
  const all = new Set<Line>()

  async function sendEncoded(request: Buffer): Promise<Answer> {
    const line = idle.pop() ?? (await openLine(new URL(url), options))
    all.add(line)
    const answer = await line.exchange(request)
    idle.push(line)
    return answer
  }
  return {
    sendEncoded,
    send: (wire) => sendEncoded(encodeRequest(wire)),
    close() {
      for (const line of all) line.close()
    },
  }
}

interface Line {
  exchange(request: Buffer): Promise<Answer>
  close(): void
}

interface LineOptions {
  localAddress?: string | undefined
  timeoutMs?: number
}

async function openLine(
  { hostname, port }: URL,
  { localAddress, timeoutMs = usualTimeoutMs }: LineOptions,
): Promise<Line> {
  const from = localAddress === undefined ? {} : { localAddress }
  const socket = createConnection({ host: hostname, port: Number(port), noDelay: true, ...from })
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return lineOf(socket, timeoutMs)
}

function lineOf(socket: Socket, timeoutMs: number): Line {
  let waiting: PromiseWithResolvers<Answer> | undefined
  let received = Buffer.alloc(0)
  const fail = (error: Error): void => {
    waiting?.reject(error)
    waiting = undefined
    socket.destroy()
  }
  socket.setTimeout(timeoutMs, () => fail(new Error(`no answer within ${timeoutMs} ms`)))
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))
  socket.on('data', (chunk) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    const parsed = parseAnswer(received)
    if (parsed === undefined) return
    received = Buffer.alloc(0)
    if (parsed instanceof Error) return fail(parsed)
    const { resolve } = waiting ?? {}
    waiting = undefined
    resolve?.(parsed)
  })
  return {
    exchange(request) {
      waiting = Promise.withResolvers()
      socket.write(request)
      return waiting.promise
    },
    close() {
      waiting = undefined
      socket.destroy()
    },
  }
}

/** The answer, undefined while bytes are missing, or an error for what this client does not speak. */
function parseAnswer(bytes: Buffer): Answer | Error | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = bytes.toString('latin1', 0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
  const from = end + 4
  if (/\r\ntransfer-encoding: chunked/i.test(head)) return parseChunks(status, bytes, from)
  const length = status === 204 ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1])
  if (Number.isNaN(status + length)) return new Error(`an answer this client cannot read: ${head.slice(0, 200)}`)
  if (bytes.length < from + length) return undefined
  if (bytes.length > from + length) return new Error('more bytes than one answer')
  return { status, body: bytes.toString('utf8', from, from + length) }
}

/** A body in chunks (RFC 9112 §7.1) without trailers. */
function parseChunks(status: number, bytes: Buffer, start: number): Answer | Error | undefined {
  const parts: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    if (Number.isNaN(size)) return new Error('a chunk without a size')
    const from = lineEnd + 2
    at = from + size + 2
    if (bytes.length < at) return undefined
    if (size > 0) parts.push(bytes.subarray(from, from + size))
    else if (bytes.length > at) return new Error('more bytes than one answer')
    else return { status, body: Buffer.concat(parts).toString() }
  }
}

/** The JSON of an answer with the agreed status; throws with what the server said instead. */
export function readAnswer<T>(answer: Answer, status: number): T {
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${answer.body}`)
  return JSON.parse(answer.body === '' ? 'null' : answer.body) as T
}
