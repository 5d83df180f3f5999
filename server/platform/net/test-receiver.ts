// For tests only: real HTTP and HTTPS servers on loopback, what they were sent, and certificates of an authority of their own.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Receiver {
  readonly port: number
  readonly origin: string
  readonly received: Received[]
  /** Sockets that were opened to it. */
  readonly connections: () => number
  /** Resolves when that many requests have arrived. */
  arrived(count: number): Promise<void>
  close(): Promise<void>
}

type Answer = (request: Received, response: Parameters<RequestListener>[1], index: number) => void

/** Answers 204 unless told otherwise; with `tls` it speaks HTTPS. */
export async function startReceiver(
  answer: Answer = (_request, response) => void response.writeHead(204).end(),
  tls?: Certificate & { maxVersion?: 'TLSv1.1' | 'TLSv1.2' },
): Promise<Receiver> {
  const received: Received[] = []
  const waiting = new Set<() => void>()
  let connections = 0
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { url = '', headers } = request
      const one = { path: url, headers, body: Buffer.concat(chunks).toString() }
      received.push(one)
      answer(one, response, received.length - 1)
      for (const look of waiting) look()
    })
  }
  // What a client that refuses our certificate does is no fault of ours.
  const server =
    tls === undefined ? createServer(listener) : createSecureServer({ minVersion: 'TLSv1', ...tls }, listener)
  server.on('tlsClientError', () => {})
  server.on('connection', () => {
    connections++
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    origin: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    received,
    connections: () => connections,
    arrived(count) {
      return new Promise((resolve) => {
        const look = (): void => {
          if (received.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      })
    },
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => void server.close(() => resolve()))
    },
  }
}

export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** A certificate for the names, of an authority made for it; `authority` is that one's own. */
export async function makeCertificate(...names: string[]): Promise<Certificate & { authority: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-certificate-'))
  const at = (name: string): string => join(folder, name)
  const run = promisify(execFile)
  try {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    const authority = ['-subj', '/CN=authority of a test', '-keyout', at('ca.key'), '-out', at('ca.pem')]
    await run('openssl', ['req', '-x509', ...key, ...authority])
    await run('openssl', [
      ...['req', '-new', ...key.slice(0, -2), '-subj', '/CN=receiver'],
      ...['-keyout', at('key.pem'), '-out', at('request.pem')],
    ])
    await writeFile(at('names'), `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`)
    await run('openssl', [
      ...['x509', '-req', '-in', at('request.pem'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'],
      ...['-days', '2', '-extfile', at('names'), '-out', at('cert.pem')],
    ])
    const [own, cert, ca] = await Promise.all(
      ['key.pem', 'cert.pem', 'ca.pem'].map((name) => readFile(at(name), 'utf8')),
    )
    return { key: own ?? '', cert: cert ?? '', authority: ca ?? '' }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
