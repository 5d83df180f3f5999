import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Endpoint, endpoint } from '@hivesync/contracts/endpoint.ts'
import { Type } from '@hivesync/contracts/schema.ts'
import { Id, object } from '@hivesync/contracts/values.ts'
import { AppError } from '../errors.ts'
import { serve } from './serve.ts'
import { openServer, type TestServer } from './test-server.ts'

const open = {
  summary: '',
  access: 'public',
  limit: 'none',
  status: 200,
  errors: [],
} as const satisfies Partial<Endpoint>
const echo = object({ value: Type.Unknown() })
const getThing = endpoint({
  ...open,
  name: 'getThing',
  method: 'GET',
  path: '/things/:thingId',
  params: object({ thingId: Id }),
  query: object({ q: Type.Optional(Type.String()) }),
  reply: echo,
})
const deleteThing = endpoint({ ...getThing, name: 'deleteThing', method: 'DELETE', query: undefined })
const postThing = endpoint({
  ...open,
  name: 'postThing',
  method: 'POST',
  path: '/things',
  body: object({ value: Type.Unknown(), count: Type.Optional(Type.Integer()) }),
  reply: echo,
})
const fail = endpoint({ ...open, name: 'fail', method: 'GET', path: '/fail', reply: echo })
const id = '01890000-0000-7000-8000-000000000000'

const openThings = (thrown?: () => unknown): Promise<TestServer> =>
  openServer({
    register(app) {
      serve(app, getThing, async ({ params, query }) => ({ value: [params.thingId, query.q ?? null] }))
      serve(app, deleteThing, async () => ({ value: null }))
      serve(app, postThing, async ({ body }) => ({ value: body.value, secret: 'undeclared' }))
      serve(app, fail, async () => {
        throw thrown?.()
      })
    },
  })

const post = (server: TestServer, payload: string | Buffer, type = 'application/json') =>
  server.app.inject({ method: 'POST', url: '/things', payload, headers: { 'content-type': type } })

describe('a JSON body', () => {
  const refused: Record<string, [string | Buffer, string]> = {
    'that is not JSON': ['{value: 1}', 'malformed_json'],
    'that ends too early': ['{"value":', 'malformed_json'],
    'with something behind it': ['{"value":1} x', 'malformed_json'],
    'that names a key twice': ['{"value":1,"value":2}', 'duplicate_key'],
    'that names a key twice, once escaped': ['{"value":1,"\\u0076alue":2}', 'duplicate_key'],
    'that names a key twice deep inside': ['{"value":[{"a":{"b":1,"c":[],"b":2}}]}', 'duplicate_key'],
    'with __proto__': ['{"value":{"__proto__":{"isAdmin":true}}}', 'malformed_json'],
    'with __proto__ in escapes': ['{"value":{"\\u005f_proto__":{}}}', 'malformed_json'],
    'that is not UTF-8': [Buffer.from('{"value":"\xff"}', 'latin1'), 'malformed_json'],
    'with a byte order mark': [Buffer.from('\ufeff{"value":1}'), 'malformed_json'],
    'in UTF-16': [Buffer.from('{"value":1}', 'utf16le'), 'malformed_json'],
    'nested a thousand deep': [`{"value":${'['.repeat(1000)}${']'.repeat(1000)}}`, 'malformed_json'],
    'nested as deep as its size allows': [`{"value":${'['.repeat(60_000)}`, 'malformed_json'],
    'that is empty': ['', 'invalid_request'],
    'that is null': ['null', 'invalid_request'],
    'that is a list': ['[{"value":1}]', 'invalid_request'],
    'with an unknown key': ['{"value":1,"isAdmin":true}', 'invalid_request'],
    'without a required key': ['{}', 'invalid_request'],
    'with a number as text': ['{"value":1,"count":"5"}', 'invalid_request'],
    'with a fraction for an integer': ['{"value":1,"count":1.5}', 'invalid_request'],
    'with a number beyond all bounds': ['{"value":1,"count":1e999}', 'invalid_request'],
  }
  for (const [name, [body, code]] of Object.entries(refused)) {
    test(`${name} is refused with ${code}`, async () => {
      await using server = await openThings()
      const reply = await post(server, body)
      assert.equal(reply.statusCode, 400)
      assert.equal(reply.json().code, code)
    })
  }

  test('that only looks alike is read', async () => {
    await using server = await openThings()
    for (const text of [
      '{"value":{"a":1,"A":2,"constructor":3}}',
      '{"value":["__proto__","a","a"]}',
      ' {"value":"{\\"a\\":1,\\"a\\":2}"}\n',
    ]) {
      const reply = await post(server, text)
      assert.equal(reply.statusCode, 200, reply.body)
      assert.deepEqual(reply.json(), JSON.parse(text))
    }
  })

  test('must be declared as JSON: nothing a browser sends without asking first is read', async () => {
    await using server = await openThings()
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=a',
      'application/json\ttext/plain',
      'text/plain, application/json',
      'application/jsonx',
      'application/problem+json',
      'json',
      '',
    ]) {
      const reply = await post(server, '{"value":1}', type)
      assert.equal(reply.statusCode, 415, type)
      assert.equal(reply.json().code, 'unsupported_media_type')
    }
    for (const type of ['application/json', 'application/json; charset=utf-8', 'Application/JSON']) {
      assert.equal((await post(server, '{"value":1}', type)).statusCode, 200, type)
    }
  })

  test('is not asked for by DELETE', async () => {
    await using server = await openThings()
    const reply = await server.app.inject({ method: 'DELETE', url: `/things/${id}`, payload: {} })
    assert.equal(reply.statusCode, 400)
    assert.equal((await server.app.inject({ method: 'DELETE', url: `/things/${id}` })).statusCode, 200)
  })
})

test('a problem names at most the place of the fault, in a bounded text', async () => {
  await using server = await openThings()
  const reply = await post(server, JSON.stringify({ value: 1, ['x'.repeat(5000)]: 1 }))
  const { fields } = reply.json()
  assert.equal(fields.length, 1)
  assert.ok(fields[0].path.startsWith('body/xxx') && fields[0].path.length <= 200)
  const query = await server.app.inject({ method: 'GET', url: `/things/${id}?nope=1` })
  assert.deepEqual(query.json().fields, [{ path: 'query/nope', message: 'must NOT have additional properties' }])
})

test('only declared members of a reply leave', async () => {
  await using server = await openThings()
  assert.equal((await post(server, '{"value":1}')).body, '{"value":1}')
})

describe('an address', () => {
  const statuses: Record<string, number> = {
    [`/things/${id}`]: 200,
    [`/things/${id.replace('0', '%30')}`]: 200,
    [`/things/${id}?q=%2e%2e`]: 200,
    [`/things/${id}?q=1&q=2`]: 400,
    [`/things/${id}?q[]=1`]: 400,
    [`/things/${id}?other=1`]: 400,
    [`/things/${id}?__proto__=1`]: 400,
    '/things/7': 400,
    '/things/..%2fadmin': 400,
    [`/things/${id.toUpperCase()}A`]: 400,
    '/things/%00': 400,
    '/things/%ff': 400,
    '/%': 400,
    [`/things/${'a'.repeat(201)}`]: 414,
    [`/things/${id}/`]: 404,
    [`//things/${id}`]: 404,
    [`/Things/${id}`]: 404,
    [`/%2574hings/${id}`]: 404,
    '/things/../things': 404,
    '/nothing': 404,
    '/.git/config': 404,
    '/openapi.json.map': 404,
  }
  for (const [url, status] of Object.entries(statuses)) {
    test(`${url.slice(0, 60)} is answered with ${status}, as a problem where it is one`, async () => {
      await using server = await openThings()
      // Over a socket: a client would resolve the dots before it sends them.
      const reply = await server.exchange(`GET ${url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      assert.match(reply, new RegExp(`^HTTP/1.1 ${status} `))
      assert.match(reply, /\r\nx-content-type-options: nosniff\r\n/)
      assert.match(reply, /\r\nx-request-id: /)
      if (status !== 200) assert.match(reply, /\r\ncontent-type: application\/problem\+json\r\n/)
    })
  }
})

test('a method that is not there is 405 with those that are, as a problem', async () => {
  await using server = await openThings()
  for (const method of ['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'TRACE', 'PROPFIND', 'QUERY', 'POST']) {
    const reply = await server.exchange(
      `${method} /things/${id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    assert.match(reply, /^HTTP\/1.1 405 /, method)
    assert.match(reply, /\r\nallow: DELETE, GET\r\n/)
    assert.equal(reply.includes('"code":"method_not_allowed"'), method !== 'HEAD')
    assert.doesNotMatch(reply, /access-control-allow/i)
  }
})

test('an unknown address is answered before its body is read', async () => {
  await using server = await openThings()
  const reply = await server.app.inject({ method: 'POST', url: '/nothing', payload: 'x'.repeat(100_000) })
  assert.equal(reply.statusCode, 404)
})

describe('a request id', () => {
  test('of the caller is kept when it is harmless, else one is made', async () => {
    await using server = await openThings()
    const idOf = async (header: string): Promise<unknown> => {
      const reply = await server.app.inject({ method: 'GET', url: '/nothing', headers: { 'x-request-id': header } })
      assert.equal(reply.json().requestId, reply.headers['x-request-id'])
      return reply.headers['x-request-id']
    }
    for (const good of ['abcdefgh', 'A-1_b'.repeat(5), 'a'.repeat(64)]) assert.equal(await idOf(good), good)
    for (const bad of ['short', 'a'.repeat(65), 'has space', 'quote"quote', '{"a":1}xx', 'ümlautümlaut', '<script>']) {
      assert.match(String(await idOf(bad)), /^[0-9a-f-]{36}$/, bad)
    }
  })

  test('sent twice is not guessed at', async () => {
    await using server = await openThings()
    const reply = await server.exchange(
      'GET /nothing HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: aaaaaaaa\r\nX-Request-Id: bbbbbbbb\r\nConnection: close\r\n\r\n',
    )
    assert.match(reply, /\r\nx-request-id: [0-9a-f-]{36}\r\n/)
  })
})

describe('whatever a verb throws', () => {
  const faults: Record<string, () => unknown> = {
    'an error': () => new Error('hunter2'),
    'an error with a status of its own': () =>
      Object.assign(new Error('hunter2'), { statusCode: 404, code: 'hunter2' }),
    'an error with a cause': () => new Error('select hunter2', { cause: new Error('/etc/hunter2') }),
    'a text': () => 'hunter2',
    nothing: () => undefined,
    null: () => null,
    'an object that looks like a reply': () => ({ statusCode: 200, message: 'hunter2' }),
  }
  for (const [name, thrown] of Object.entries(faults)) {
    test(`${name} becomes a textless 500 and one line in the log`, async () => {
      await using server = await openThings(thrown)
      const reply = await server.app.inject({ method: 'GET', url: '/fail' })
      assert.equal(reply.statusCode, 500)
      const requestId = reply.headers['x-request-id']
      assert.deepEqual(reply.json(), {
        type: 'urn:hivesync:error:internal',
        title: 'Something went wrong',
        status: 500,
        code: 'internal',
        requestId,
      })
      const errors = server.logged.map((line) => JSON.parse(line)).filter(({ level }) => level === 'error')
      assert.equal(errors.length, 1)
      assert.equal(errors[0].requestId, requestId)
      assert.ok(errors[0].stack.includes('\n    at '))
    })
  }

  test('a refusal shows what is meant for the client; its details go to the log, and only those that may', async () => {
    const details = { reason: 'too_old', jobId: id, password: 'hunter2', token: { nested: 'hunter2' } }
    const options = { detail: 'Try later', headers: { 'retry-after': '7' } }
    await using server = await openThings(() => new AppError('queue_full', details, options))
    const reply = await server.app.inject({ method: 'GET', url: '/fail' })
    assert.equal(reply.statusCode, 429)
    assert.equal(reply.headers['retry-after'], '7')
    const { code, detail, ...rest } = reply.json()
    assert.deepEqual([code, detail], ['queue_full', 'Try later'])
    assert.deepEqual(Object.keys(rest).sort(), ['requestId', 'status', 'title', 'type'])
    const line = JSON.parse(server.logged.at(-1) ?? '{}')
    assert.deepEqual([line.code, line.reason, line.jobId, line.status], ['queue_full', 'too_old', id, 429])
    assert.ok(!server.logged.join('').includes('hunter2'))
  })
})

test('a route without a contract stops the boot', async () => {
  const register = [
    (app: TestServer['app']) => void app.get('/debug', async () => 'open to all'),
    (app: TestServer['app']) =>
      void app.route({ method: 'GET', url: '/debug', config: {}, handler: async () => 'open' }),
  ]
  for (const each of register) {
    await assert.rejects(openServer({ register: each }), /GET \/debug declares no access/)
  }
})
