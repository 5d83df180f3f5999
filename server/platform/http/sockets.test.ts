import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import { type Endpoint, endpoint } from '@hivesync/contracts/endpoint.ts'
import { Type } from '@hivesync/contracts/schema.ts'
import { object } from '@hivesync/contracts/values.ts'
import { serve } from './serve.ts'
import { openServer, received, statusesIn, type TestServer, type TestServerOptions } from './test-server.ts'

const open = {
  summary: '',
  access: 'public',
  limit: 'none',
  status: 200,
  errors: [],
} as const satisfies Partial<Endpoint>
const getThing = endpoint({
  ...open,
  name: 'getThing',
  method: 'GET',
  path: '/thing',
  reply: object({ n: Type.Integer() }),
})
const getLater = endpoint({
  ...open,
  name: 'getLater',
  method: 'GET',
  path: '/later',
  reply: object({ n: Type.Integer() }),
})
const postThing = endpoint({
  ...open,
  name: 'postThing',
  method: 'POST',
  path: '/thing',
  body: object({ a: Type.Integer() }),
  maxBodyBytes: 1000,
  reply: object({ n: Type.Integer() }),
})

function withThings(options: Partial<TestServerOptions> = {}) {
  let entered: () => void = () => {}
  let release: () => void = () => {}
  const server = openServer({
    ...options,
    register(app) {
      app.addHook('preClose', async () => {
        // By then the server has stopped to listen.
        setImmediate(() => app.server.emit('stopping'))
      })
      serve(app, getThing, async () => ({ n: 1 }))
      serve(app, postThing, async ({ body }) => ({ n: body.a }))
      serve(app, getLater, async () => {
        entered()
        await new Promise<void>((resolve) => {
          release = resolve
        })
        return { n: 2 }
      })
    },
  })
  return {
    server,
    /** Resolves when a request for /later waits. */
    waiting: new Promise<void>((resolve) => {
      entered = resolve
    }),
    release: () => release(),
  }
}

const host = 'Host: localhost\r\n'
const json = 'Content-Type: application/json\r\n'
const smuggled = `GET /thing HTTP/1.1\r\n${host}\r\n`

describe('what two HTTP parsers could read differently is refused and its connection closed', () => {
  const requests: Record<string, string> = {
    'a length beside chunks': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    'chunks beside a length': `POST /thing HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${smuggled}`,
    'two lengths': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 7\r\nContent-Length: 8\r\n\r\n{"a":1}${smuggled}`,
    'one length twice': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 7\r\nContent-Length: 7\r\n\r\n{"a":1}${smuggled}`,
    'a list of lengths': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 7, 7\r\n\r\n{"a":1}${smuggled}`,
    'a signed length': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: +7\r\n\r\n{"a":1}${smuggled}`,
    'a negative length': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: -7\r\n\r\n{"a":1}${smuggled}`,
    'an unknown transfer encoding': `POST /thing HTTP/1.1\r\n${host}${json}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
    'chunked not last': `POST /thing HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
    'a broken chunk size': `POST /thing HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\n\r\n0x7\r\n{"a":1}\r\n0\r\n\r\n${smuggled}`,
    'a folded header': `GET /thing HTTP/1.1\r\n${host}X-A: b\r\n Content-Length: 5\r\n\r\n${smuggled}`,
    'bare line feeds': `GET /thing HTTP/1.1\n${host.replace('\r', '')}\n${smuggled}`,
    'a space before a colon': `POST /thing HTTP/1.1\r\n${host}${json}Content-Length : 7\r\n\r\n{"a":1}${smuggled}`,
    'a NUL in a header': `GET /thing HTTP/1.1\r\n${host}X-A: b\0c\r\n\r\n${smuggled}`,
    'a header without a colon': `GET /thing HTTP/1.1\r\n${host}nonsense\r\n\r\n${smuggled}`,
    'an unknown version': `GET /thing HTTP/1.7\r\n${host}\r\n${smuggled}`,
    'an unknown method': `FOO /thing HTTP/1.1\r\n${host}\r\n${smuggled}`,
    'a space in the address': `GET /thing /other HTTP/1.1\r\n${host}\r\n${smuggled}`,
    'the preface of HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${smuggled}`,
    'no HTTP at all': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  }
  for (const [name, request] of Object.entries(requests)) {
    test(name, async () => {
      await using server = await withThings().server
      const reply = await server.exchange(request)
      assert.deepEqual(statusesIn(reply), [400], reply)
      assert.match(reply, /\r\nconnection: close\r\n/i)
      assert.match(reply, /\r\ncontent-type: application\/problem\+json\r\n/)
      assert.match(reply, /\r\nx-content-type-options: nosniff\r\n/)
      const [, requestId] = /\r\nx-request-id: ([0-9a-f-]{36})\r\n/.exec(reply) ?? []
      assert.ok(requestId !== undefined && reply.includes(`"requestId":"${requestId}"`))
      assert.ok(server.logged.some((line) => line.includes('"broken_request"') && line.includes(requestId)))
    })
  }
})

test('a request without a host, or with two, is refused', async () => {
  await using server = await withThings().server
  for (const hosts of ['', 'Host: a\r\nHost: b\r\n', 'Host: a\r\nhost: a\r\n']) {
    const reply = await server.exchange(`GET /thing HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`)
    assert.deepEqual(statusesIn(reply), [400])
    assert.match(reply, /\r\nx-frame-options: DENY\r\n/)
  }
})

test('in the local profile a request names this machine or the public address: a foreign name led here (DNS rebinding) is refused', async () => {
  const statusFor = async (server: TestServer, name: string) =>
    statusesIn(await server.exchange(`GET /thing HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`))
  await using local = await withThings({ config: { publicUrl: 'http://hive.example.net:7070' } }).server
  const own = ['127.0.0.1:7070', 'localhost', 'LOCALHOST:1', '[::1]:7070', 'hive.localhost', 'hive.example.net:7070']
  for (const name of own) assert.deepEqual(await statusFor(local, name), [200], name)
  const foreign = [
    'evil.example',
    'evil.example:7070',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '10.0.0.1',
    '',
    '@',
  ]
  for (const name of foreign) assert.deepEqual(await statusFor(local, name), [400], name)
  await using open = await withThings({ config: { profile: 'production' } }).server
  assert.deepEqual(await statusFor(open, 'any.example'), [200])
})

test('an expectation that nobody knows is ignored, and answered with our headers', async () => {
  await using server = await withThings().server
  const reply = await server.exchange(`GET /thing HTTP/1.1\r\n${host}Expect: miracles\r\nConnection: close\r\n\r\n`)
  assert.deepEqual(statusesIn(reply), [200])
  assert.match(reply, /\r\nx-frame-options: DENY\r\n/)
})

test('a wait for news leaves nothing on its connection, on which thousands may follow', async () => {
  const counts: number[] = []
  await using server = await openServer({
    register: (app) =>
      serve(app, getThing, async ({ signal }) => {
        assert.equal(signal.aborted, false)
        return { n: 1 }
      }),
  })
  server.app.server.on('connection', (socket: Socket) => {
    server.app.server.on('request', () => counts.push(socket.listenerCount('close')))
  })
  const socket = await server.connect()
  for (let i = 0; i < 20; i++) {
    const answered = once(socket, 'data')
    socket.write(smuggled)
    await answered
  }
  socket.destroy()
  assert.equal(counts.length, 20)
  assert.equal(counts.at(-1), counts[1])
})

test('requests in one packet are answered in order', async () => {
  await using server = await withThings().server
  const post = `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 7\r\n\r\n{"a":7}`
  const reply = await server.exchange(
    `${smuggled}${post}GET /none HTTP/1.1\r\n${host}\r\nGET /thing HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  )
  assert.deepEqual(statusesIn(reply), [200, 200, 404, 200], reply)
  assert.match(reply, /"n":7/)
})

test('a broken request behind one that waits for its reply gets no answer that could be taken for that reply', async () => {
  const { server: opening, waiting, release } = withThings()
  await using server = await opening
  const socket = await server.connect()
  const reply = received(socket)
  socket.write(`GET /later HTTP/1.1\r\n${host}\r\n`)
  await waiting
  socket.write('GARBAGE\r\n\r\n')
  assert.equal(await reply, '')
  release()
})

test('headers beyond 16 KiB and addresses beyond them are refused with 431', async () => {
  await using server = await withThings().server
  const long = 'a'.repeat(16 * 1024)
  for (const request of [
    `GET /thing HTTP/1.1\r\n${host}X-A: ${long}\r\n\r\n`,
    `GET /${long} HTTP/1.1\r\n${host}\r\n`,
  ]) {
    const reply = await server.exchange(request)
    assert.deepEqual(statusesIn(reply), [431])
    assert.match(reply, /"code":"headers_too_large"/)
  }
  assert.deepEqual(
    statusesIn(await server.exchange(`GET /${'a'.repeat(9000)} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)),
    [404],
  )
})

describe('a body', () => {
  const bodyOf = (bytes: number) => `{"a":1${' '.repeat(bytes - 7)}}`
  const chunked = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
  const post = (framing: string, body: string) =>
    `POST /thing HTTP/1.1\r\n${host}${json}${framing}Connection: close\r\n\r\n${body}`

  test('of exactly the limit is read, one byte more is 413 and ends the connection', async () => {
    await using server = await withThings().server
    assert.deepEqual(statusesIn(await server.exchange(post('Content-Length: 1000\r\n', bodyOf(1000)))), [200])
    assert.deepEqual(
      statusesIn(await server.exchange(post('Transfer-Encoding: chunked\r\n', chunked(bodyOf(1000))))),
      [200],
    )
    for (const [framing, body] of [
      ['Content-Length: 1001\r\n', bodyOf(1001)],
      ['Transfer-Encoding: chunked\r\n', chunked(bodyOf(1001))],
    ] as const) {
      const reply = await server.exchange(post(framing, body).replace('Connection: close\r\n', '') + smuggled)
      assert.deepEqual(statusesIn(reply), [413], reply)
      assert.match(reply, /\r\nconnection: close\r\n/)
    }
  })

  test('announced as too large is refused before it is sent', async () => {
    await using server = await withThings().server
    assert.deepEqual(statusesIn(await server.exchange(post('Content-Length: 1000000\r\n', ''))), [413])
  })

  test('of an operation that takes none is refused and ends the connection, also on GET', async () => {
    await using server = await withThings().server
    for (const framing of ['Content-Length: 3\r\n\r\nabc', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n']) {
      const reply = await server.exchange(`GET /thing HTTP/1.1\r\n${host}${framing}${smuggled}`)
      assert.equal(statusesIn(reply)[0], 400)
      assert.match(reply, /\r\nconnection: close\r\n/i)
      assert.equal(statusesIn(reply).length, 1)
    }
  })

  test('cut off by its sender is no fault of ours', async () => {
    await using server = await withThings().server
    const socket = await server.connect()
    const arrived = once(server.app.server, 'request')
    socket.write(post('Content-Length: 100\r\n', '{"a"'))
    await arrived
    const [, response] = await arrived
    const closed = once(response, 'close')
    socket.destroy()
    await closed
    assert.deepEqual(
      server.logged.filter((line) => line.includes('"error"')),
      [],
    )
  })
})

describe('a client that trickles', () => {
  const patience = { headersMs: 50, requestMs: 100, checkMs: 20 }
  for (const [name, part] of [
    ['its headers', `GET /thing HTTP/1.1\r\nHo`],
    ['its body', `POST /thing HTTP/1.1\r\n${host}${json}Content-Length: 100\r\n\r\n{"a"`],
    ['its chunks', `POST /thing HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\n\r\n64\r\n{"a"`],
  ] as const) {
    test(`${name} is told so and cut off`, async () => {
      await using server = await withThings({ patience }).server
      const reply = await server.exchange(part)
      assert.deepEqual(statusesIn(reply), [408])
      assert.match(reply, /"code":"request_timeout"/)
    })
  }
})

describe('a stop', () => {
  test('lets the request under way finish and serves what follows on its connection, then closes it', async () => {
    const { server: opening, waiting, release } = withThings()
    await using server = await opening
    const socket = await server.connect()
    const reply = received(socket)
    socket.write(`GET /later HTTP/1.1\r\n${host}\r\n`)
    await waiting
    const closed = server.app.close()
    await once(server.app.server, 'stopping')
    const arrived = once(server.app.server, 'request')
    socket.write(smuggled)
    await arrived
    release()
    await closed
    assert.deepEqual(statusesIn(await reply), [200, 200])
  })

  test('closes the connection of a request that began before it', async () => {
    const { server: opening, waiting, release } = withThings()
    await using server = await opening
    const socket = await server.connect()
    const reply = received(socket)
    socket.write(`GET /later HTTP/1.1\r\n${host}\r\n`)
    await waiting
    const closed = server.app.close()
    await once(server.app.server, 'stopping')
    release()
    await closed
    assert.deepEqual(statusesIn(await reply), [200])
  })
})
