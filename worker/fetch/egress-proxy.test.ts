import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { type TestContext, test } from 'node:test'
import { defaultEgressLimits, type EgressDecision, type EgressProxyOptions, openEgressProxy } from './egress-proxy.ts'

const limits = { ...defaultEgressLimits, maxBytesDown: 1024 * 1024 }

async function openProxy(t: TestContext, options: Partial<EgressProxyOptions>) {
  const decisions: EgressDecision[] = []
  const proxy = await openEgressProxy({
    allow: [],
    privateHosts: [],
    limits,
    onDecision: (decision) => decisions.push(decision),
    ...options,
  })
  t.after(() => proxy.close())
  return { proxy, decisions }
}

/** A loopback server that answers every connection by `serve`; its port. */
async function startServer(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

/** Sends `text` to the proxy and gathers what comes back until the proxy closes or `until` has been received. */
async function talk(
  t: TestContext,
  socketPath: string,
  text: string,
  until?: string,
): Promise<{ socket: Socket; received: string }> {
  const socket = connect(socketPath)
  t.after(() => socket.destroy())
  let received = ''
  socket.on('error', () => socket.destroy())
  socket.write(text)
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      if (until !== undefined && received.includes(until)) resolve()
    })
  })
  return { socket, received }
}

function connectRequest(authority: string): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`
}

test('an allowed host is reached through the tunnel, bytes unchanged and counted', async (t) => {
  const port = await startServer(t, (socket) => socket.pipe(socket))
  const allow = [{ host: 'git.lan', port }]
  const { proxy, decisions } = await openProxy(t, {
    allow,
    privateHosts: [`git.lan:${port}`],
    resolve: async () => ['127.0.0.1'],
  })
  const { received } = await talk(t, proxy.socketPath, `${connectRequest(`git.lan:${port}`)}hello`, 'hello')
  assert.match(received, /^HTTP\/1\.1 200 [^\r]*\r\n\r\nhello$/)
  assert.deepEqual(decisions, [{ host: 'git.lan', port, address: '127.0.0.1', allowed: true, reason: 'allowed' }])
  assert.deepEqual([proxy.bytesUp, proxy.bytesDown], [5, 5])
})

test('anything but CONNECT is 405', async (t) => {
  const { proxy, decisions } = await openProxy(t, { allow: [{ host: 'example.org' }] })
  for (const method of ['GET', 'POST', 'OPTIONS']) {
    const request = `${method} http://example.org/ HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n`
    assert.match((await talk(t, proxy.socketPath, request)).received, /^HTTP\/1\.1 405 /)
  }
  assert.deepEqual(new Set(decisions.map((decision) => decision.reason)), new Set(['method']))
})

test('a host or port that is not listed is refused before any name is resolved', async (t) => {
  const resolved: string[] = []
  const resolve = async (host: string) => {
    resolved.push(host)
    return ['1.1.1.1']
  }
  const { proxy, decisions } = await openProxy(t, {
    allow: [{ host: 'example.org' }, { host: 'git.lan', port: 8443 }],
    resolve,
  })
  for (const authority of [
    'evil.org:443',
    'example.org:80',
    'git.lan:443',
    'sub.example.org:443',
    'example.org.evil.org:443',
  ]) {
    assert.match((await talk(t, proxy.socketPath, connectRequest(authority))).received, /^HTTP\/1\.1 403 /, authority)
  }
  assert.deepEqual(resolved, [])
  assert.ok(decisions.every((decision) => !decision.allowed && decision.reason === 'not_listed'))
})

test('a malformed target is refused', async (t) => {
  const { proxy } = await openProxy(t, { allow: [{ host: 'example.org' }] })
  for (const authority of [
    'example.org',
    'example.org:',
    'example.org:0',
    'example.org:65536',
    'user@example.org:443',
    '[::1:443',
    '/',
  ]) {
    assert.match(
      (await talk(t, proxy.socketPath, connectRequest(authority))).received,
      /^HTTP\/1\.1 40[03] /,
      authority,
    )
  }
})

test('a name is refused when any of its addresses is private', async (t) => {
  const answers = [
    ['127.0.0.1'],
    ['1.1.1.1', '10.0.0.1'],
    ['::ffff:127.0.0.1'],
    ['169.254.169.254'],
    ['fd00::1'],
    ['64:ff9b::7f00:1'],
  ]
  for (const addresses of answers) {
    const { proxy, decisions } = await openProxy(t, { allow: [{ host: 'evil.org' }], resolve: async () => addresses })
    assert.match((await talk(t, proxy.socketPath, connectRequest('evil.org:443'))).received, /^HTTP\/1\.1 403 /)
    assert.equal(decisions.length, 1)
    assert.match(decisions[0]?.reason ?? '', /^address_/, addresses.join())
    assert.ok(decisions[0]?.address !== null && addresses.includes(decisions[0]?.address ?? ''))
  }
})

test('an address literal is judged in every notation without being resolved', async (t) => {
  const resolve = async () => assert.fail('resolved a literal')
  const { proxy, decisions } = await openProxy(t, { allow: [{ host: '127.0.0.1' }, { host: '::1' }], resolve })
  for (const host of ['127.0.0.1', '127.1', '0x7f.0.0.1', '2130706433', '[::1]', '[0:0:0:0:0:0:0:1]']) {
    assert.match((await talk(t, proxy.socketPath, connectRequest(`${host}:443`))).received, /^HTTP\/1\.1 403 /, host)
  }
  assert.deepEqual(new Set(decisions.map((decision) => decision.reason)), new Set(['address_loopback']))
})

test('a name that rebinds is resolved once, and the checked address is the one connected to', async (t) => {
  const seen: string[] = []
  const port = await startServer(t, (socket) => {
    seen.push(socket.localAddress ?? '')
    socket.end('right')
  })
  let lookups = 0
  const resolve = async () => {
    lookups += 1
    return lookups === 1 ? ['127.0.0.1'] : ['127.0.0.2']
  }
  const { proxy } = await openProxy(t, { allow: [{ host: 'r.test', port }], privateHosts: [`r.test:${port}`], resolve })
  const { received } = await talk(t, proxy.socketPath, connectRequest(`r.test:${port}`))
  assert.match(received, /right$/)
  assert.deepEqual([lookups, seen], [1, ['127.0.0.1']])
})

test('the exception for a private host covers no other port of it', async (t) => {
  const resolve = async () => ['127.0.0.1']
  const allow = [{ host: 'git.lan', port: 9000 }]
  const { proxy, decisions } = await openProxy(t, { allow, privateHosts: ['git.lan:8443', 'git.lan'], resolve })
  assert.match((await talk(t, proxy.socketPath, connectRequest('git.lan:9000'))).received, /^HTTP\/1\.1 403 /)
  assert.equal(decisions[0]?.reason, 'address_loopback')
})

test('a name that does not resolve and a port nobody listens on are 502', async (t) => {
  const closed = await startServer(t, () => undefined)
  const unused = createServer().listen(0, '127.0.0.1')
  await once(unused, 'listening')
  const address = unused.address()
  assert.ok(address !== null && typeof address === 'object' && address.port !== closed)
  unused.close()
  await once(unused, 'close')
  const resolve = async (host: string) => {
    if (host === 'none.test') throw new Error('ENOTFOUND')
    return ['127.0.0.1']
  }
  const allow = [{ host: 'none.test' }, { host: 'down.test', port: address.port }]
  const { proxy, decisions } = await openProxy(t, { allow, privateHosts: [`down.test:${address.port}`], resolve })
  assert.match((await talk(t, proxy.socketPath, connectRequest('none.test:443'))).received, /^HTTP\/1\.1 502 /)
  assert.match(
    (await talk(t, proxy.socketPath, connectRequest(`down.test:${address.port}`))).received,
    /^HTTP\/1\.1 502 /,
  )
  assert.deepEqual(
    decisions.map((decision) => decision.reason),
    ['name_not_resolved', 'connect_failed'],
  )
})

test('a resolver that never answers is cut', async (t) => {
  const { proxy, decisions } = await openProxy(t, {
    allow: [{ host: 'slow.test' }],
    resolve: () => new Promise<string[]>(() => undefined),
    limits: { ...limits, connectMs: 50 },
  })
  assert.match((await talk(t, proxy.socketPath, connectRequest('slow.test:443'))).received, /^HTTP\/1\.1 504 /)
  assert.equal(decisions[0]?.reason, 'resolve_time')
})

// Node's own limit for headers is 60 s: the time limit tells it from ours.
test('a client that trickles its request is cut', { timeout: 30_000 }, async (t) => {
  const { proxy } = await openProxy(t, { allow: [], limits: { ...limits, handshakeMs: 100 } })
  for (const text of ['CONNECT exam', ' ']) await talk(t, proxy.socketPath, text)
})

test('a flood of bytes in either direction ends the tunnel', async (t) => {
  const flood = Buffer.alloc(64 * 1024)
  const port = await startServer(t, (socket) => {
    socket.once('data', () => {
      const more = () => {
        while (socket.writable && socket.write(flood));
      }
      socket.on('drain', more)
      more()
    })
  })
  const base = {
    allow: [{ host: 'f.test', port }],
    privateHosts: [`f.test:${port}`],
    resolve: async () => ['127.0.0.1'],
  }
  const down = await openProxy(t, { ...base, limits: { ...limits, maxBytesDown: 200_000 } })
  const { received } = await talk(t, down.proxy.socketPath, `${connectRequest(`f.test:${port}`)}go`)
  assert.ok(received.length <= 200_000 + 100)
  assert.equal(down.decisions.at(-1)?.reason, 'bytes_down')
  const up = await openProxy(t, { ...base, limits: { ...limits, maxBytesUp: 1_000 } })
  await talk(t, up.proxy.socketPath, connectRequest(`f.test:${port}`) + 'x'.repeat(1_001))
  assert.equal(up.decisions.at(-1)?.reason, 'bytes_up')
})

for (const [reason, own] of [
  ['idle', { idleMs: 50 }],
  ['tunnel_time', { tunnelMs: 50 }],
] as const) {
  test(`a silent tunnel ends by ${reason}`, async (t) => {
    const port = await startServer(t, () => undefined)
    const base = {
      allow: [{ host: 's.test', port }],
      privateHosts: [`s.test:${port}`],
      resolve: async () => ['127.0.0.1'],
    }
    const { proxy, decisions } = await openProxy(t, { ...base, limits: { ...limits, ...own } })
    await talk(t, proxy.socketPath, connectRequest(`s.test:${port}`))
    assert.equal(decisions.at(-1)?.reason, reason)
  })
}

test('more tunnels than allowed are refused while the others live', async (t) => {
  const port = await startServer(t, (socket) => socket.write('hi'))
  const base = {
    allow: [{ host: 'm.test', port }],
    privateHosts: [`m.test:${port}`],
    resolve: async () => ['127.0.0.1'],
  }
  const { proxy, decisions } = await openProxy(t, { ...base, limits: { ...limits, maxTunnels: 2 } })
  for (let index = 0; index < 2; index += 1) await talk(t, proxy.socketPath, connectRequest(`m.test:${port}`), 'hi')
  assert.match((await talk(t, proxy.socketPath, connectRequest(`m.test:${port}`))).received, /^HTTP\/1\.1 503 /)
  assert.equal(decisions.at(-1)?.reason, 'tunnel_limit')
})

test('a client that is gone once its name is resolved causes no connection', async (t) => {
  const seen: string[] = []
  const port = await startServer(t, (socket) => socket.once('data', (name) => seen.push(String(name))))
  const answer = Promise.withResolvers<string[]>()
  const asked = Promise.withResolvers<void>()
  const resolve = () => {
    asked.resolve()
    return answer.promise
  }
  const allow = [{ host: 'd.test', port }]
  const { proxy, decisions } = await openProxy(t, { allow, privateHosts: [`d.test:${port}`], resolve })
  const client = connect(proxy.socketPath)
  t.after(() => client.destroy())
  client.on('error', () => client.destroy())
  client.write(connectRequest(`d.test:${port}`))
  await asked.promise
  await proxy.close()
  answer.resolve(['127.0.0.1'])
  // Connections are accepted in order: had the proxy made one, its decision would be known before this one's end.
  const own = connect(port, '127.0.0.1')
  await once(own, 'connect')
  own.end('own')
  await once(own, 'close')
  assert.deepEqual([seen, decisions], [['own'], []])
})

test('the socket lies in a folder nobody else can pass, and close removes both and cuts tunnels', async (t) => {
  const port = await startServer(t, (socket) => socket.write('hi'))
  const base = {
    allow: [{ host: 'c.test', port }],
    privateHosts: [`c.test:${port}`],
    resolve: async () => ['127.0.0.1'],
  }
  const { proxy } = await openProxy(t, base)
  const folder = dirname(proxy.socketPath)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  const { socket } = await talk(t, proxy.socketPath, connectRequest(`c.test:${port}`), 'hi')
  const cut = once(socket, 'close')
  await proxy.close()
  await cut
  assert.equal(existsSync(folder), false)
})
