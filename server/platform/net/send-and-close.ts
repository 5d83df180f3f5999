import { connect as openTcp } from 'node:net'
import { connect as openTls } from 'node:tls'

export interface Peer {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
}

/**
 * Sends bytes over a connection of their own and resolves when the other side has closed it after reading their end. A protocol without answers, such as
 * syslog, has no other sign that what was sent was read: what a kernel has taken is lost when the receiver dies. TLS 1.2 or later, the certificate verified.
 */
export function sendAndClose({ host, port, isTls }: Peer, bytes: Uint8Array, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = isTls
    ? openTls({ host, port, servername: host, minVersion: 'TLSv1.2', rejectUnauthorized: true })
    : openTcp({ host, port })
  const timer = setTimeout(() => socket.destroy(new Error('the receiver has not closed in time')), timeoutMs)
  let isEnded = false
  socket.once('error', reject)
  socket.once('end', () => {
    // Before ours was sent it says that the receiver went, not that it has read.
    isEnded = socket.writableFinished
  })
  // Without its end first, the connection broke: nothing says what was read.
  socket.once('close', () => (isEnded ? resolve() : reject(new Error('the connection broke'))))
  // Read, or its end never comes.
  socket.resume()
  socket.end(bytes)
  return promise.finally(() => {
    clearTimeout(timer)
    socket.destroy()
  })
}
