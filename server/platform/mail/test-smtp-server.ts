// For tests only: a real SMTP server on loopback, the certificate it shows, and what was said to it.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export interface SmtpServer {
  readonly port: number
  /** Every mail accepted, with the address it was accepted for. */
  readonly received: { to: string; source: string }[]
  /** Every byte clients sent, as it crossed the wire: what is readable here was not encrypted. */
  readonly wire: () => string
  readonly connections: () => number
  close(): Promise<void>
}

/** Accepts everything from everybody unless the options say otherwise. */
export async function startSmtpServer(options: SMTPServerOptions = {}): Promise<SmtpServer> {
  const received: SmtpServer['received'] = []
  const smtp = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    // Without a certificate of ours it would use one whose key everybody has.
    ...(options.key === undefined && { disabledCommands: ['STARTTLS'] }),
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const to = session.envelope.rcptTo.map(({ address }) => address).join()
        received.push({ to, source: Buffer.concat(chunks).toString() })
        done()
      })
    },
    ...options,
  })
  // What a client that refuses our certificate does to us is no fault of ours.
  smtp.on('error', () => {})
  const inner = await listen(smtp.server as Server)
  const said: Buffer[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const tap = createServer((client) => {
    connections++
    const upstream = connect(inner, '127.0.0.1')
    client.on('data', (chunk) => said.push(chunk))
    client.pipe(upstream).pipe(client)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  const port = await listen(tap)
  return {
    port,
    received,
    wire: () => Buffer.concat(said).toString('latin1'),
    connections: () => connections,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => tap.close(resolve))
      await new Promise<void>((resolve) => smtp.close(resolve))
    },
  }
}

/** A server that takes a connection and then says nothing, or what it is told to. */
export async function startSilentServer(
  greeting = '',
): Promise<{ port: number; connected: Promise<void>; close(): Promise<void> }> {
  const { promise: connected, resolve: onConnect } = Promise.withResolvers<void>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.resume()
    socket.write(greeting)
    onConnect()
  })
  const port = await listen(server)
  return {
    port,
    connected,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A certificate that signs itself, for the names given as in `DNS:a.test,IP:127.0.0.1`. */
export async function makeCertificate(names: string): Promise<{ key: string; cert: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-cert-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const subject = ['-subj', '/CN=mail.test', '-addext', `subjectAltName=${names}`]
  await promisify(execFile)('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert])
  const made = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }
  await rm(folder, { recursive: true })
  return made
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}
