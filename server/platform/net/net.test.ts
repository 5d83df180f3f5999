import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { parseConfig } from '../config.ts'
import { createNet, type Net, type NetRequest } from './net.ts'
import type { NetFailure } from './net-failure.ts'
import { type DnsServer, startDnsServer } from './test-dns-server.ts'
import { type Certificate, makeCertificate, type Receiver, startReceiver } from './test-receiver.ts'

let net: Net
let dns: DnsServer
let good: Certificate
let foreign: Certificate
const trusted = getCACertificates()

before(async () => {
  dns = await startDnsServer((name, count) => {
    if (name === 'hook.example') return ['127.0.0.1']
    // The check finds a public address, the connection would find this machine.
    if (name === 'rebinding.example') return [count === 0 ? '8.8.8.8' : '127.0.0.1']
    return undefined
  })
  const made = await makeCertificate('hook.example')
  good = made
  foreign = await makeCertificate('hook.example')
  setDefaultCACertificates([...trusted, made.authority])
  net = open('127.0.0.0/8')
})
after(async () => {
  setDefaultCACertificates(trusted)
  await net.close()
  await dns.close()
})

function open(allow: string): Net {
  const { egress } = parseConfig({ HIVESYNC_EGRESS_ALLOW: allow, HIVESYNC_DNS_SERVERS: dns.address })
  return createNet(egress, Date.now)
}

const post = (url: string, more: Partial<NetRequest> = {}, by: Net = net) =>
  by.post({
    url: new URL(url),
    lane: 'a',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    timeoutMs: 5000,
    ...more,
  })
const failureOf = (work: Promise<unknown>): Promise<NetFailure> =>
  work.then(
    () => assert.fail('there was an answer'),
    (error) => error,
  )

test('a request arrives whole, and its answer comes back with the address it came from', async () => {
  await using receiver = await receiving((_request, response) =>
    response.writeHead(503, { 'retry-after': '7' }).end('later'),
  )
  const reply = await post(`${receiver.origin}/hook?key=1`, { headers: { 'x-one': '1' }, body: '{"a":"é"}' })
  assert.deepEqual(
    { ...reply, body: Buffer.from(reply.body).toString() },
    { status: 503, retryAfter: '7', remoteAddress: '127.0.0.1', body: 'later' },
  )
  const [request] = receiver.received
  assert.deepEqual([request?.path, request?.body, request?.headers['x-one']], ['/hook?key=1', '{"a":"é"}', '1'])
  assert.equal(request?.headers.host, `127.0.0.1:${receiver.port}`)
})

test('a connection is kept for the next request of the same lane, and for no other', async () => {
  await using receiver = await receiving()
  for (const lane of ['one', 'one', 'one', 'two']) await post(receiver.origin, { lane })
  assert.equal(receiver.connections(), 2)
})

test('a connection that the other side closed meanwhile costs nothing', async () => {
  await using receiver = await receiving((_request, response, index) => {
    response.writeHead(204).end()
    if (index === 0) response.socket?.end()
  })
  for (let i = 0; i < 3; i++) assert.equal((await post(receiver.origin, { lane: 'closing' })).status, 204)
})

test('a name that changes its address after the check is refused at the connection: nothing arrives', async () => {
  await using receiver = await receiving(undefined, good)
  const strict = open('')
  const url = `https://rebinding.example:8443/`
  await strict.judge(new URL(url))
  assert.equal((await failureOf(post(url, {}, strict))).reason, 'address_refused')
  assert.equal(receiver.connections(), 0)
  // Once for the check and once for the connection: between asking and connecting nobody is asked again.
  assert.equal(dns.asked.filter((name) => name === 'rebinding.example').length, 2)
  await strict.close()
})

test('an address literal is judged as a name is', async () => {
  await using receiver = await receiving()
  const strict = open('')
  for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', '2130706433'])
    assert.equal((await failureOf(post(`http://${host}:${receiver.port}/`, {}, strict))).reason, 'address_refused')
  assert.equal(receiver.connections(), 0)
  await strict.close()
})

test('no redirect is followed: the place it names hears nothing', async () => {
  await using inner = await receiving()
  await using receiver = await receiving((_request, response) =>
    response.writeHead(307, { location: inner.origin }).end(),
  )
  assert.equal((await post(receiver.origin)).status, 307)
  assert.equal(inner.connections(), 0)
})

test('a certificate must be of a known authority, for the name, and TLS at least 1.2', async () => {
  await using receiver = await receiving(undefined, good)
  assert.equal((await post(`https://hook.example:${receiver.port}/`, {}, open('*.example,hook.example'))).status, 204)
  assert.equal(receiver.received[0]?.headers.host, `hook.example:${receiver.port}`)
  // For an address there would have to be one that names it.
  assert.equal((await failureOf(post(`https://127.0.0.1:${receiver.port}/`))).reason, 'tls_failed')
  await using other = await receiving(undefined, foreign)
  await using old = await receiving(undefined, { ...good, maxVersion: 'TLSv1.1' })
  await using plain = await receiving()
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  try {
    for (const { port } of [other, old, plain])
      assert.equal(
        (await failureOf(post(`https://hook.example:${port}/`, {}, open('hook.example')))).reason,
        'tls_failed',
      )
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
  }
  assert.deepEqual([...other.received, ...old.received, ...plain.received], [])
})

test('of an answer without end 4 KiB are kept, 16 KiB read, and nothing is unpacked', async () => {
  await using receiver = await receiving((request, response) => {
    if (request.path === '/bomb') {
      const packed = gzipSync(Buffer.alloc(1_000_000))
      return response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed)
    }
    const pour = (): void => {
      while (response.write('x'.repeat(8192)));
    }
    response.writeHead(200).on('drain', pour)
    pour()
  })
  const endless = await post(`${receiver.origin}/`)
  assert.deepEqual([endless.status, endless.body.length], [200, 4096])
  const bomb = await post(`${receiver.origin}/bomb`)
  assert.equal(Buffer.from(bomb.body).readUInt16BE(), 0x1f8b)
  assert.ok(bomb.body.length < 4096)
})

// Far more than 300 ms, for a slow machine, and far less than forever.
test('the time is for all of it: no answer, one that trickles, and headers without end are cut off', {
  timeout: 30_000,
}, async () => {
  await using receiver = await receiving((request, response) => {
    if (request.path === '/silent') return
    if (request.path === '/early') return void response.writeEarlyHints({ link: '</a>; rel=preload' })
    response.writeHead(200)
    const timer = setInterval(() => response.write('x'), 20)
    response.on('close', () => clearInterval(timer))
  })
  for (const path of ['/silent', '/early', '/trickle'])
    assert.equal((await failureOf(post(`${receiver.origin}${path}`, { timeoutMs: 300 }))).reason, 'timeout', path)
})

test('a kept connection that breaks under a request takes of its time: the second try has what is left', async () => {
  await using receiver = await receiving((_request, response, index) => {
    if (index === 0) return void response.writeHead(204).end()
    // Each alone would be in time.
    setTimeout(() => (index === 1 ? response.socket?.destroy() : response.writeHead(204).end()), 400)
  })
  const lane = 'breaking'
  await post(receiver.origin, { lane })
  assert.equal((await failureOf(post(receiver.origin, { lane, timeoutMs: 600 }))).reason, 'timeout')
})

test('what is no HTTP, breaks off, or has too large headers fails by its name', async () => {
  const cases: [string, NetFailure['reason']][] = [
    ['SSH-2.0-x\r\n', 'response_invalid'],
    ['HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc', 'connection_closed'],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 'response_invalid'],
    ['', 'connection_closed'],
  ]
  for (const [bytes, reason] of cases) {
    await using raw = await saying(bytes)
    assert.equal((await failureOf(post(`http://127.0.0.1:${raw.port}/`))).reason, reason, bytes.slice(0, 40))
  }
  await using gone = await receiving()
  await gone.close()
  const failure = await failureOf(post(gone.origin))
  assert.deepEqual([failure.reason, failure.remoteAddress], ['connect_failed', '127.0.0.1'])
})

test('proxies of the environment are not asked', async () => {
  await using proxy = await receiving()
  await using receiver = await receiving()
  for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy']) process.env[name] = proxy.origin
  try {
    assert.equal((await post(receiver.origin)).status, 204)
  } finally {
    for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy']) delete process.env[name]
  }
  assert.equal(proxy.connections(), 0)
})

test('closing ends what is under way as `closed`, and takes nothing more', async () => {
  await using receiver = await receiving(() => {})
  const own = open('127.0.0.0/8')
  const hanging = failureOf(post(receiver.origin, { timeoutMs: 60_000 }, own))
  await receiver.arrived(1)
  await own.close()
  assert.equal((await hanging).reason, 'closed')
  assert.equal((await failureOf(post(receiver.origin, {}, own))).reason, 'closed')
})

async function receiving(...args: Parameters<typeof startReceiver>): Promise<Receiver & AsyncDisposable> {
  const receiver = await startReceiver(...args)
  return { ...receiver, [Symbol.asyncDispose]: receiver.close }
}

/** Answers whatever comes with these bytes, and hangs up. */
async function saying(bytes: string): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', () => socket.end(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
