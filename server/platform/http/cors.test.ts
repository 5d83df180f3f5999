import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { endpoint } from '@hivesync/contracts/endpoint.ts'
import { object } from '@hivesync/contracts/values.ts'
import { type Config, parseConfig } from '../config.ts'
import { AppError } from '../errors.ts'
import { serve } from './serve.ts'
import { openServer, type TestServer } from './test-server.ts'

const thing = {
  path: '/thing',
  access: 'public',
  limit: 'read',
  status: 200,
  reply: object({}),
  errors: [],
  summary: '',
} as const
const getThing = endpoint({ ...thing, name: 'getThing', method: 'GET' })
const postThing = endpoint({ ...thing, name: 'postThing', method: 'POST', body: object({}) })

const production = {
  profile: 'production',
  publicUrl: 'https://hive.example.net',
  corsOrigins: ['https://app.example.net', 'https://app.example.net:8443'],
} as const
function open(config: Partial<Config> = production): Promise<TestServer> {
  return openServer({
    config,
    register(app) {
      serve(app, getThing, async () => ({}))
      serve(app, postThing, async () => {
        throw new AppError('permission_denied')
      })
    },
  })
}
const ask = (
  server: TestServer,
  origin: string | undefined,
  more: { method?: 'GET' | 'POST' | 'OPTIONS'; url?: string; headers?: object } = {},
) =>
  server.app.inject({
    method: more.method ?? 'GET',
    url: more.url ?? '/thing',
    headers: { ...(origin !== undefined && { origin }), ...more.headers },
  })
const preflight = { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } } as const
const allowsOf = (headers: Record<string, unknown>) =>
  Object.keys(headers).filter((name) => name.startsWith('access-control-'))

describe('a page of a listed origin', () => {
  const origin = 'https://app.example.net'

  test('may read every reply, refusals and what is not there too, and no cookie goes along', async () => {
    await using server = await open()
    const replies = [
      await ask(server, origin),
      await ask(server, origin, { method: 'POST' }),
      await ask(server, origin, { url: '/nowhere' }),
      await ask(server, origin, { url: '/%' }),
      await ask(server, origin, { url: '/thing?nope=1' }),
    ]
    assert.deepEqual(
      replies.map(({ statusCode }) => statusCode),
      [200, 400, 404, 400, 400],
    )
    for (const { headers } of replies) {
      assert.equal(headers['access-control-allow-origin'], origin)
      assert.equal(headers['access-control-allow-credentials'], undefined)
      assert.match(String(headers['access-control-expose-headers']), /retry-after/)
      assert.equal(headers.vary, 'Origin')
    }
  })

  test('is told what it may send, in an answer that carries the headers of every reply', async () => {
    await using server = await open()
    const { statusCode, headers, body } = await ask(server, origin, preflight)
    assert.deepEqual([statusCode, body], [204, ''])
    assert.equal(headers['access-control-allow-origin'], origin)
    assert.equal(headers['access-control-allow-methods'], 'GET, POST')
    assert.match(String(headers['access-control-allow-headers']), /\bauthorization\b/)
    assert.doesNotMatch(String(headers['access-control-allow-headers']), /cookie|\*/)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.match(String(headers['strict-transport-security']), /max-age/)
  })

  test('is asked nothing where there is nothing', async () => {
    await using server = await open()
    assert.equal((await ask(server, origin, { ...preflight, url: '/nowhere' })).statusCode, 404)
    // What asks about no request is no preflight (Fetch, "CORS-preflight request").
    assert.equal((await ask(server, origin, { method: 'OPTIONS' })).statusCode, 405)
  })
})

describe('a page of any other origin', () => {
  const others = [
    'null',
    '*',
    'https://evil.test',
    'https://app.example.net.evil.test',
    'https://evil-app.example.net',
    'https://app.example.net:444',
    'https://app.example.net/',
    'https://app.example.net@evil.test',
    'https://user@app.example.net',
    'http://app.example.net',
    'HTTPS://APP.EXAMPLE.NET',
    'https://app.example.net, https://evil.test',
    'https://hive.example.net',
    'http://localhost:3000',
    'https://app.example.net%00.evil.test',
  ]
  for (const origin of others) {
    test(`${origin} is told nothing`, async () => {
      await using server = await open()
      for (const more of [{}, { method: 'POST' } as const, preflight, { url: '/nowhere' }]) {
        const { headers } = await ask(server, origin, more)
        assert.deepEqual(allowsOf(headers), [])
      }
      assert.equal((await ask(server, origin, preflight)).statusCode, 405)
    })
  }

  test('is told nothing where no origin is listed', async () => {
    await using server = await open({ ...production, corsOrigins: [] })
    const { headers } = await ask(server, 'https://app.example.net')
    assert.deepEqual([allowsOf(headers), headers.vary], [[], undefined])
  })
})

test('in the local profile every page of this machine may call, and none that only looks like one', async () => {
  await using server = await open({ profile: 'local' })
  for (const origin of ['http://localhost:3000', 'http://127.0.0.1:5173', 'http://[::1]:8080', 'https://localhost'])
    assert.equal((await ask(server, origin)).headers['access-control-allow-origin'], origin)
  for (const origin of [
    'http://localhost.evil.test',
    'http://localhost:3000/',
    'http://evil.test@localhost',
    'http://127.0.0.1.evil.test',
    'http://127.example.net',
    'null',
    'localhost',
  ])
    assert.deepEqual(allowsOf((await ask(server, origin)).headers), [])
})

test('what is no whole origin, or not https, is refused as a setting', () => {
  const problemsOf = (origins: string): string => {
    try {
      parseConfig({ HIVESYNC_PROFILE: 'production', HIVESYNC_CORS_ORIGINS: origins })
      return ''
    } catch (error) {
      return error instanceof Error ? error.message : ''
    }
  }
  for (const origins of [
    '*',
    'null',
    'https://*.example.net',
    'https://a.example.net/',
    'http://a.example.net',
    'a.example.net',
  ])
    assert.match(problemsOf(origins), /HIVESYNC_CORS_ORIGINS/, origins)
  assert.doesNotMatch(problemsOf('https://a.example.net, https://b.example.net:8443'), /HIVESYNC_CORS_ORIGINS/)
})
