// A reader of a WebSocket, as a client that is no browser opens it, and one that speaks its bytes itself.
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import type { Hive } from './hive.ts'

export interface Message {
  event: string
  id: string
  data: Record<string, unknown>
}

const listening = new WeakMap<Hive['app'], Promise<unknown>>()

export async function listen({ app }: Pick<Hive, 'app'>): Promise<number> {
  const started = listening.get(app) ?? app.listen({ host: '127.0.0.1', port: 0 })
  listening.set(app, started)
  await started
  return (app.server.address() as AddressInfo).port
}

export class SocketReader<M = Message> {
  readonly messages: M[] = []
  readonly socket: WebSocket
  /** The code and the reason of its end. */
  readonly ended: Promise<[number, string]>
  #notice: () => void = () => {}

  constructor(socket: WebSocket) {
    this.socket = socket
    this.ended = new Promise((resolve) => socket.once('close', (code, reason) => resolve([code, String(reason)])))
    socket.on('message', (text) => {
      this.messages.push(JSON.parse(String(text)))
      this.#notice()
    })
    socket.on('error', () => {}) // its end tells
  }

  /** Waits until one of the messages so far is as asked. */
  async until(isIt: (message: M) => boolean): Promise<M> {
    for (;;) {
      const found = this.messages.find(isIt)
      if (found !== undefined) return found
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#notice = resolve
        }),
        this.ended.then((end) => assert.fail(`ended with ${end} after ${JSON.stringify(this.messages)}`)),
      ])
    }
  }
}

export interface Asking {
  token?: string
  protocols?: string[]
  headers?: Record<string, string>
}

/** Opens a WebSocket, or fails with the reply that refused it. */
export async function openSocket<M = Message>(
  hive: Pick<Hive, 'app'>,
  path: string,
  { token, protocols = [], headers = {} }: Asking = {},
): Promise<SocketReader<M>> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const socket = new WebSocket(`ws://127.0.0.1:${await listen(hive)}${path}`, protocols, {
    headers: { ...authorization, ...headers },
  })
  const reader = new SocketReader<M>(socket)
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
    socket.once('unexpected-response', (_, response) => void readRefusal(response).then(reject, reject))
  })
  return reader
}

export class Refused extends Error {
  readonly status: number
  readonly code: string
  readonly headers: IncomingMessage['headers']
  constructor(response: IncomingMessage, body: string) {
    super(body)
    this.status = response.statusCode ?? 0
    this.code = JSON.parse(body).code
    this.headers = response.headers
  }
}

async function readRefusal(response: IncomingMessage): Promise<Refused> {
  let body = ''
  for await (const part of response.setEncoding('utf8')) body += part
  return new Refused(response, body)
}

/** Why a WebSocket is refused; fails the test when it is not. */
export async function refusalOf(hive: Pick<Hive, 'app'>, path: string, asking: Asking = {}): Promise<Refused> {
  try {
    const reader = await openSocket(hive, path, asking)
    reader.socket.terminate()
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
  return assert.fail('it was opened')
}

/** The bytes of a request for a WebSocket; `lines` replace or add to its headers, an empty one leaves one out. */
export function upgradeRequest(path: string, token: string, lines: Record<string, string> = {}): string {
  const headers = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    Authorization: `Bearer ${token}`,
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...lines,
  }
  const written = Object.entries(headers).flatMap(([name, value]) => (value === '' ? [] : [`${name}: ${value}\r\n`]))
  return `GET ${path} HTTP/1.1\r\n${written.join('')}\r\n`
}

/** A connection of bytes, which a text names one by a character; `all` is everything that was received until it is closed. */
export async function openBytes(
  hive: Pick<Hive, 'app'>,
): Promise<{ socket: Socket; all: Promise<Buffer>; until(text: string): Promise<void> }> {
  const socket = connect({ host: '127.0.0.1', port: await listen(hive) })
  const parts: Buffer[] = []
  let notice: () => void = () => {}
  socket.on('data', (part) => {
    parts.push(part as Buffer)
    notice()
  })
  socket.on('error', () => {}) // a reset is an end like another
  const all = new Promise<Buffer>((resolve) => socket.on('close', () => resolve(Buffer.concat(parts))))
  return {
    socket,
    all,
    async until(text) {
      while (!Buffer.concat(parts).includes(text, 0, 'latin1')) {
        const more = new Promise<void>((resolve) => {
          notice = resolve
        })
        await Promise.race([more, all.then((bytes) => assert.fail(`closed after ${bytes.toString('latin1')}`))])
      }
    },
  }
}

/** A client's frame (RFC 6455 §5.2), masked with zeros unless it is to be `bare`. */
export function frame(
  opcode: number,
  payload: Buffer | string,
  { bare = false, length }: { bare?: boolean; length?: number } = {},
): Buffer {
  const body = Buffer.from(payload)
  const size = length ?? body.length
  const head =
    size < 126 ? Buffer.from([0x80 | opcode, size]) : Buffer.from([0x80 | opcode, 126, size >> 8, size & 255])
  if (bare) return Buffer.concat([head, body])
  head[1] = (head[1] ?? 0) | 0x80
  return Buffer.concat([head, Buffer.alloc(4), body])
}
