import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { type Endpoint, endpoint } from '@hivesync/contracts/endpoint.ts'
import { Type } from '@hivesync/contracts/schema.ts'
import { object } from '@hivesync/contracts/values.ts'
import { openServer, statusesIn, type TestServerOptions } from './test-server.ts'
import { serveUpload } from './upload.ts'

const putBytes = endpoint({
  name: 'putBytes',
  summary: '',
  method: 'PUT',
  path: '/bytes',
  access: 'public',
  limit: 'none',
  consumes: 'application/octet-stream',
  maxBodyBytes: 200_000,
  status: 200,
  reply: object({ bytes: Type.Integer() }),
  errors: [],
})

/** A server that counts what it is sent; `ends` tells how often a body came to its end. */
function openCounter(
  more: Partial<Pick<Endpoint, 'maxBodyBytes' | 'params' | 'access' | 'limit' | 'errors'>> = {},
  options: Partial<TestServerOptions> = {},
) {
  const seen = { begun: 0, ended: 0 }
  const server = openServer({
    ...options,
    register(app) {
      serveUpload(app, { ...putBytes, ...more }, async ({ upload }) => {
        seen.begun += 1
        let bytes = 0
        for await (const chunk of upload.content) bytes += chunk.length
        seen.ended += 1
        return { bytes }
      })
    },
  })
  return { server, seen }
}

const head = 'PUT /bytes HTTP/1.1\r\nHost: localhost\r\n'
const octets = 'Content-Type: application/octet-stream\r\n'
const close = 'Connection: close\r\n'

describe('an upload', () => {
  test('is read as it comes, with a length or in chunks, also when it is empty', async () => {
    const { server: opening } = openCounter()
    await using server = await opening
    assert.match(await server.exchange(`${head}${octets}${close}Content-Length: 5\r\n\r\nhello`), /"bytes":5/)
    const chunks = '3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n'
    assert.match(
      await server.exchange(`${head}${octets}${close}Transfer-Encoding: chunked\r\n\r\n${chunks}`),
      /"bytes":5/,
    )
    assert.match(await server.exchange(`${head}${octets}${close}Content-Length: 0\r\n\r\n`), /"bytes":0/)
    assert.match(await server.exchange(`${head}${close}\r\n`), /"bytes":0/)
  })

  test('of another type, or too long, is refused', async () => {
    const { server: opening, seen } = openCounter()
    await using server = await opening
    const json = 'Content-Type: application/json\r\n'
    assert.deepEqual(statusesIn(await server.exchange(`${head}${json}${close}Content-Length: 2\r\n\r\n{}`)), [415])
    assert.deepEqual(statusesIn(await server.exchange(`${head}${close}Content-Length: 2\r\n\r\n{}`)), [415])
    assert.deepEqual(statusesIn(await server.exchange(`${head}${octets}${close}Content-Length: 200001\r\n\r\n`)), [413])
    assert.equal(seen.begun, 0)
    const chunk = `${(200_001).toString(16)}\r\n${'x'.repeat(200_001)}\r\n0\r\n\r\n`
    assert.deepEqual(
      statusesIn(await server.exchange(`${head}${octets}${close}Transfer-Encoding: chunked\r\n\r\n${chunk}`)),
      [413],
    )
    assert.equal(seen.ended, 0)
  })

  test('that breaks off never ends, and is no fault of ours', async () => {
    const { server: opening, seen } = openCounter()
    await using server = await opening
    const socket = await server.connect()
    const [, response] = await Promise.all([
      socket.write(`${head}${octets}Content-Length: 100\r\n\r\nhello`),
      once(server.app.server, 'request').then(([, response]) => response),
    ])
    const closed = once(response, 'close')
    socket.destroy()
    await closed
    assert.equal(seen.ended, 0)
    assert.deepEqual(
      server.logged.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })
})

describe('an upload that trickles', () => {
  const patience = { headersMs: 10_000, requestMs: 200, checkMs: 20 }

  test('is told so and cut off', async () => {
    const { server: opening, seen } = openCounter({}, { patience })
    await using server = await opening
    const reply = await server.exchange(`${head}${octets}Content-Length: 100000\r\n\r\nhello`)
    assert.deepEqual(statusesIn(reply), [408])
    assert.equal(seen.ended, 0)
  })
})
