import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../errors.ts'
import { acceptWebSocket, isUpgrade } from './websocket.ts'

export interface LiveEvent {
  event: string
  id: string
  data: unknown
}

/** Why a stream ends: its last event is sent, the server stops, or something went wrong, such as that the reader's rights have ended. */
export type StreamEnd = 'done' | 'stopping' | { error: unknown }

/** One reader, whatever it reads with. */
export interface LiveStream {
  isGone(): boolean
  onGone(listener: () => void): void
  /** False when the reader has not taken it all: then nothing is to be sent until `onTaken`. */
  send(events: readonly LiveEvent[]): boolean
  /** Calls once, when the reader has taken what was sent or is gone. */
  onTaken(listener: () => void): void
  /** Says that the stream lives, and finds out whether the reader does. */
  keepAlive(): void
  cutOff(): void
  end(why: StreamEnd): void
}

/** Server-sent events, or messages of a WebSocket where the request asks for one; `bare` messages are the data alone. */
export function openLiveStream(request: FastifyRequest, reply: FastifyReply, options: { bare?: boolean }): LiveStream {
  return isUpgrade(request) ? openWebSocket(request, reply, options.bare === true) : openEventStream(reply)
}

/** HTML Living Standard §9.2. */
function openEventStream(reply: FastifyReply): LiveStream {
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, {
    ...Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)])),
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no',
  })
  raw.write(': connected\n\n')
  return {
    isGone: () => raw.destroyed,
    onGone: (listener) => void raw.on('close', listener),
    send: (events) =>
      raw.write(
        events.map(({ event, id, data }) => `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join(''),
      ),
    onTaken(listener) {
      const end = (): void => {
        raw.off('drain', end)
        raw.off('close', end)
        listener()
      }
      raw.once('drain', end)
      raw.once('close', end)
    },
    keepAlive: () => void raw.write(': alive\n\n'),
    cutOff: () => void raw.destroy(),
    // The status line is long gone: closing is all that is left to say, and a client that reconnects is told properly.
    end: () => void raw.end(),
  }
}

/** What a client that reads nothing may have waiting. */
const maxWaitingBytes = 64 * 1024
/** RFC 6455 §7.4.1. */
const closeCodes = { done: 1000, stopping: 1001, policy: 1008, broken: 1011 } as const

function openWebSocket(request: FastifyRequest, reply: FastifyReply, bare: boolean): LiveStream {
  const socket = acceptWebSocket(request, reply)
  const startedAs = reply.raw
  let isGone = false
  let isAnswered = true
  /** Batches of which the last message is still on its way out. */
  let waiting = 0
  let taken: () => void = () => {}
  const release = (): void => {
    waiting--
    if (waiting === 0 || isGone) taken()
  }
  // A protocol error: the library has closed the connection with the code that says which.
  socket.on('error', () => {})
  socket.on('message', () => socket.close(closeCodes.policy, 'nothing is read here'))
  socket.on('ping', (data) => {
    // Pings without end whose answers are never read would fill our memory.
    if (socket.bufferedAmount > maxWaitingBytes) socket.terminate()
    else socket.pong(data)
  })
  socket.on('pong', () => {
    isAnswered = true
  })
  socket.on('close', () => {
    isGone = true
    taken()
    // Now the request is over, and gets its line in the log.
    startedAs.statusCode = 101
    startedAs.emit('finish')
  })
  return {
    isGone: () => isGone || socket.readyState !== socket.OPEN,
    onGone: (listener) => void socket.on('close', listener),
    send(events) {
      for (const [i, { event, id, data }] of events.entries()) {
        const text = JSON.stringify(bare ? data : { event, id, data })
        if (i < events.length - 1) socket.send(text)
        else {
          waiting++
          socket.send(text, release)
        }
      }
      return waiting === 0 || socket.bufferedAmount <= maxWaitingBytes
    },
    onTaken(listener) {
      if (waiting === 0 || isGone) return listener()
      taken = () => {
        taken = () => {}
        listener()
      }
    },
    keepAlive() {
      if (!isAnswered) return socket.terminate()
      isAnswered = false
      socket.ping()
    },
    cutOff: () => socket.terminate(),
    end(why) {
      if (why === 'done' || why === 'stopping') return socket.close(closeCodes[why], why)
      const { error } = why
      // 4401, 4403, 4404: as the request would now be answered.
      if (error instanceof AppError && error.status < 500) socket.close(4000 + error.status, error.code)
      else socket.close(closeCodes.broken)
    },
  }
}
