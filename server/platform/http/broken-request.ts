import { ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import { toProblem } from '../errors.ts'
import type { Logger } from '../logger.ts'

const codes: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
}

/**
 * Answers what is not HTTP, or never became a whole request, and closes the socket: the rest of the bytes cannot be trusted (request smuggling).
 * While an earlier request of the socket waits for its reply there is no answer, which would be taken for that reply.
 */
export function answerBrokenRequest(
  headers: Readonly<Record<string, string>>,
  makeRequestId: () => string,
  log: Logger,
  note: (status: number, code: ErrorCode) => void,
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return (error, socket) => {
    if (error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const code = codes[error.code ?? ''] ?? 'invalid_request'
    const [status] = errorCatalog[code]
    const requestId = makeRequestId()
    log.info({ event: 'broken_request', requestId, status, code, reason: error.code ?? null })
    note(status, code)
    if (!socket.writable || isReplyDue(socket)) {
      socket.destroy()
      return
    }
    const body = JSON.stringify(toProblem(code, requestId))
    const lines = Object.entries({
      ...headers,
      'x-request-id': requestId,
      'content-type': 'application/problem+json',
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`, () => socket.destroy())
  }
}

/** Whether the socket owes a reply to a request that had arrived whole, or has begun one. Node keeps it in a member without a public name. */
function isReplyDue(socket: Socket): boolean {
  const reply: unknown = Reflect.get(socket, '_httpMessage')
  return reply instanceof ServerResponse && (reply.headersSent || reply.req.complete)
}
