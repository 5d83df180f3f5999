import type { Socket } from 'node:net'
import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import { toProblem } from '../errors.ts'

const codes: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
}

/** Answers what is not HTTP, or never became a whole request, and closes the socket: the rest of the bytes cannot be trusted (request smuggling). */
export function answerBrokenRequest(headers: Readonly<Record<string, string>>) {
  const lines = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  return (error: NodeJS.ErrnoException, socket: Socket): void => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const code = codes[error.code ?? ''] ?? 'invalid_request'
    const [status, title] = errorCatalog[code]
    const body = JSON.stringify(toProblem(code, '-'))
    socket.end(
      `HTTP/1.1 ${status} ${title}\r\nconnection: close\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines}\r\n${body}`,
      () => socket.destroy(),
    )
  }
}
