import type { IncomingMessage, Server } from 'node:http'
import { isBodySent } from './serve.ts'

/** An upload goes on while at least so much arrives in each of its periods. */
const leastBytes = 64 * 1024
const uploads = new WeakSet<IncomingMessage>()

/** Says that this request may take as long as its bytes keep coming, and not only as long as any other. */
export function allowUpload(request: IncomingMessage): void {
  uploads.add(request)
}

/**
 * Cuts off who does not send its whole body in time, or a part of an upload: they hold a socket, never a worker. Node's own limit is one for all requests, and
 * would have to be as long as the longest upload.
 */
export function watchBodies(server: Server, periodMs: number): void {
  server.prependListener('request', (request: IncomingMessage) => {
    if (!isBodySent(request.headers)) return
    let seen = request.socket.bytesRead
    const look = (): void => {
      if (request.socket.destroyed) return
      const { bytesRead } = request.socket
      // Full buffers wait for us, not for the client.
      const isOurTurn = request.readableLength >= request.readableHighWaterMark
      if (uploads.has(request) && (bytesRead - seen >= leastBytes || isOurTurn)) {
        seen = bytesRead
        timer.refresh()
        return
      }
      const error = Object.assign(new Error('the body took too long'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
      server.emit('clientError', error, request.socket)
    }
    const timer = setTimeout(look, periodMs).unref()
    const stop = (): void => clearTimeout(timer)
    request.once('end', stop)
    request.once('close', stop)
  })
}
