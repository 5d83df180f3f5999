import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { after, before, type TestContext, test } from 'node:test'
import { connect as connectTls, createServer as createTlsServer, type Server } from 'node:tls'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { readClientHello } from './client-hello.ts'
import { defaultEgressLimits, type EgressDecision, openEgressProxy } from './egress-proxy.ts'

let folder: string
let server: Server
let port: number
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hs-tls-gate-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=x']
  await promisify(execFile)('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert])
  server = createTlsServer({ key: await readFile(key), cert: await readFile(cert) }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(`you asked for ${socket.servername}`)
  })
  server.on('tlsClientError', () => undefined) // a tunnel that was cut
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  port = address.port
})
after(async () => {
  server.close()
  await rm(folder, { recursive: true })
})

async function openTunnel(t: TestContext, host: string, toPort = port) {
  const decisions: EgressDecision[] = []
  const proxy = await openEgressProxy({
    allow: [{ host, port: toPort }],
    privateHosts: [`${host}:${toPort}`],
    resolve: async () => ['127.0.0.1'],
    requireTls: true,
    limits: { ...defaultEgressLimits, maxBytesDown: 1024 * 1024 },
    onDecision: (decision) => decisions.push(decision),
  })
  t.after(() => proxy.close())
  const socket = connect(proxy.socketPath)
  socket.on('error', () => socket.destroy())
  socket.write(`CONNECT ${host}:${toPort} HTTP/1.1\r\n\r\n`)
  const [reply] = await once(socket, 'data')
  assert.match(String(reply), /^HTTP\/1\.1 200 /)
  const reasons = () => decisions.filter(({ allowed }) => !allowed).map(({ reason }) => reason)
  return { socket, proxy, reasons }
}

/** What the server says through the tunnel to a client that names `servername`; empty when the tunnel was cut. */
async function speakTls(socket: Socket, servername: string): Promise<string> {
  let said = ''
  const client = connectTls({ socket, servername, rejectUnauthorized: false })
  client.on('data', (chunk) => {
    said += chunk
  })
  client.on('error', () => client.destroy())
  await new Promise((resolve) => client.once('close', resolve))
  return said
}

test('a client that names the tunnel’s host gets through', async (t) => {
  const { socket, reasons } = await openTunnel(t, 'npm.test')
  assert.equal(await speakTls(socket, 'npm.test'), 'you asked for npm.test')
  assert.deepEqual(reasons(), [])
})

test('one that names another host behind the same address is cut before a byte is sent (domain fronting)', async (t) => {
  for (const name of ['evil.test', 'npm.test.evil.test', '']) {
    const { socket, proxy, reasons } = await openTunnel(t, 'npm.test')
    assert.equal(await speakTls(socket, name), '', name)
    assert.deepEqual([reasons(), proxy.bytesUp], [['sni_mismatch'], 0], name)
  }
})

test('what is no TLS, or pretends to be, is cut before a byte is sent', async (t) => {
  const cases: [Buffer, string][] = [
    [Buffer.from('GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n'), 'not_tls'],
    [Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), 'tls_malformed'],
    [Buffer.from([22, 3, 1, 0xff, 0xff]), 'tls_malformed'],
    [Buffer.concat([Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff])]), 'tls_malformed'],
  ]
  for (const [bytes, reason] of cases) {
    const { socket, proxy, reasons } = await openTunnel(t, 'npm.test')
    const closed = once(socket, 'close')
    socket.write(bytes)
    await closed
    assert.deepEqual([reasons(), proxy.bytesUp], [[reason], 0])
  }
})

/** The first message of Node's own TLS client. */
async function clientHelloOf(servername: string | undefined): Promise<Buffer> {
  const sent = Promise.withResolvers<Buffer>()
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.resolve(chunk)
      done()
    },
  })
  const client = connectTls({
    socket: wire,
    rejectUnauthorized: false,
    ...(servername !== undefined && { servername }),
  })
  client.on('error', () => undefined) // it is never answered
  const hello = await sent.promise
  client.destroy()
  return hello
}

/** The same message in records of `size` bytes: TLS allows it, and it has hidden names from filters. */
function inRecords(hello: Buffer, size: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 5; at < hello.length; at += size) {
    const part = hello.subarray(at, at + size)
    parts.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(parts)
}

test('the name is read from a hello in any number of records and in any cut of the stream', async () => {
  const hello = await clientHelloOf('NPM.test')
  const expected = { kind: 'hello', serverName: 'npm.test', encrypted: false }
  for (const size of [100, 333, hello.length]) {
    const bytes = inRecords(hello, size)
    assert.deepEqual(readClientHello(bytes), expected)
    for (let cut = 1; cut < bytes.length; cut += 13)
      assert.deepEqual(readClientHello(bytes.subarray(0, cut)), { kind: 'more' }, `${size} ${cut}`)
  }
  assert.deepEqual(readClientHello(inRecords(hello, 1)), { kind: 'malformed' }, 'a flood of tiny records')
  assert.deepEqual(readClientHello(await clientHelloOf(undefined)), { ...expected, serverName: null })
})

test('an encrypted hello, and one with two names, are told from a plain one', async () => {
  const hello = await clientHelloOf('npm.test')
  const add = (extension: Buffer): Buffer => {
    let at = 5 + 4 + 34
    at += 1 + (hello[at] ?? 0)
    at += 2 + hello.readUInt16BE(at)
    at += 1 + (hello[at] ?? 0)
    const message = Buffer.concat([hello.subarray(5), extension])
    message.writeUInt16BE(hello.readUInt16BE(at) + extension.length, at - 5)
    message.writeUIntBE(message.length - 4, 1, 3)
    return inRecords(Buffer.concat([Buffer.alloc(5), message]), message.length)
  }
  assert.deepEqual(readClientHello(add(Buffer.from([0xfe, 0x0d, 0, 1, 0]))), {
    ...{ kind: 'hello', serverName: 'npm.test', encrypted: true },
  })
  const second = Buffer.concat([Buffer.from([0, 0, 0, 9, 0, 7, 0, 0, 4]), Buffer.from('evil')])
  assert.deepEqual(readClientHello(add(second)), { kind: 'malformed' })
})

test('no bytes make the reader throw', async () => {
  const hello = await clientHelloOf('npm.test')
  const change = fc.record({ at: fc.nat(hello.length - 1), value: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), fc.nat(hello.length), (changes, length) => {
      const bytes = Buffer.from(hello.subarray(0, length))
      for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value
      assert.ok(readClientHello(bytes).kind.length > 0)
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => readClientHello(Buffer.from(bytes)).kind.length > 0),
  )
})
