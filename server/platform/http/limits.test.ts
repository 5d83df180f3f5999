import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Endpoint, endpoint, type LimitCategory } from '@hivesync/contracts/endpoint.ts'
import { object } from '@hivesync/contracts/values.ts'
import { type Identity, nobody } from '../actor.ts'
import { type Config, parseConfig } from '../config.ts'
import { AppError } from '../errors.ts'
import { serve } from './serve.ts'
import { openServer, type TestServer } from './test-server.ts'

function operation(name: string, limit: LimitCategory, access: Endpoint['access']) {
  const path = `/${name}`
  return endpoint({ name, summary: '', method: 'GET', path, access, limit, status: 200, reply: object({}), errors: [] })
}
const operations = [
  operation('login', 'auth', 'public'),
  operation('read', 'read', 'account:read'),
  operation('write', 'write', 'account:read'),
  operation('admin', 'admin', 'session'),
  operation('health', 'none', 'public'),
]

const permissions: Identity['permissions'] = new Set(['account:read'])
const key = { ...nobody, kind: 'key', userId: 'u-ada', permissions } as const
const identities: Record<string, Identity> = {
  ada: { ...nobody, kind: 'user', id: 'u-ada', userId: 'u-ada', permissions },
  bob: { ...nobody, kind: 'user', id: 'u-bob', userId: 'u-bob', permissions },
  'ada-key-1': { ...key, id: 'k-1', hourly: { group: 'k-1', limit: 1000 } },
  'ada-key-2': { ...key, id: 'k-2', hourly: { group: 'k-2', limit: 25 } },
}

function openLimited(config: Partial<Config> = {}) {
  let now = Date.UTC(2026, 0, 5, 12)
  const server = openServer({
    config: { rateScale: 1, ...config },
    clock: { now: () => now },
    authenticate(token) {
      const identity = identities[token]
      if (identity === undefined) throw new AppError('invalid_token')
      return identity
    },
    register(app) {
      for (const each of operations) serve(app, each, async () => ({}))
    },
  })
  return {
    server,
    advance(ms: number) {
      now += ms
    },
  }
}

interface From {
  token?: string
  address?: string
  forwarded?: string
}
const get = (server: TestServer, path: string, { token, address = '192.0.2.1', forwarded }: From = {}) =>
  server.app.inject({
    method: 'GET',
    url: `/${path}`,
    remoteAddress: address,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }),
    },
  })

async function allowedOf(server: TestServer, path: string, tries: number, from: From = {}): Promise<number> {
  let allowed = 0
  for (let i = 0; i < tries; i++) if ((await get(server, path, from)).statusCode !== 429) allowed++
  return allowed
}

describe('in 60 seconds', () => {
  for (const [path, limit, from] of [
    ['login', 10, {}],
    ['write', 30, { token: 'ada' }],
    ['read', 100, { token: 'ada' }],
    ['admin', 200, { token: 'ada' }],
  ] as const) {
    test(`${path} is allowed ${limit} times and refused after, with when to come back`, async () => {
      const { server: opening, advance } = openLimited()
      await using server = await opening
      const first = await get(server, path, from)
      assert.deepEqual(
        [
          first.headers['x-ratelimit-limit'],
          first.headers['x-ratelimit-remaining'],
          first.headers['x-ratelimit-reset'],
        ],
        [String(limit), String(limit - 1), '60'],
      )
      // draft-ietf-httpapi-ratelimit-headers: structured fields, quota and window of each policy, then how it stands.
      const category = path === 'login' ? 'auth' : path
      assert.equal(first.headers['ratelimit-policy'], `"${category}";q=${limit};w=60`)
      assert.equal(first.headers.ratelimit, `"${category}";r=${limit - 1};t=60`)
      advance(20_500)
      assert.equal(await allowedOf(server, path, limit + 5, from), limit - 1)
      const refused = await get(server, path, from)
      assert.equal(refused.statusCode, 429)
      assert.equal(refused.json().code, 'rate_limited')
      assert.equal(refused.headers['x-ratelimit-remaining'], '0')
      assert.equal(refused.headers['retry-after'], '40')
      advance(39_499)
      assert.equal((await get(server, path, from)).statusCode, 429)
      advance(1)
      assert.equal((await get(server, path, from)).statusCode, 200)
      assert.equal((await get(server, path, from)).statusCode, 429)
    })
  }

  test('health is never limited', async () => {
    await using server = await openLimited().server
    assert.equal(await allowedOf(server, 'health', 300), 300)
    assert.equal((await get(server, 'health')).headers['x-ratelimit-limit'], undefined)
  })
})

test('addresses that no operation has are counted like reads by nobody', async () => {
  await using server = await openLimited().server
  const statuses = new Map<number, number>()
  for (let i = 0; i < 120; i++) {
    const { statusCode } = await server.app.inject({ method: 'GET', url: `/nowhere/${i}` })
    statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
  }
  assert.deepEqual(
    [...statuses],
    [
      [404, 100],
      [429, 20],
    ],
  )
})

test('what is refused before anybody is proved is counted for its address', async () => {
  await using server = await openLimited().server
  const headers = { host: 'rebound.example.net' }
  const statuses: number[] = []
  for (let i = 0; i < 32; i++)
    statuses.push((await server.app.inject({ method: 'GET', url: '/write', headers })).statusCode)
  assert.deepEqual([...new Set(statuses.slice(0, 30)), ...statuses.slice(30)], [400, 429, 429])
})

test('each person has a window of its own, whatever the address, and all keys of a person another', async () => {
  await using server = await openLimited().server
  assert.equal(await allowedOf(server, 'write', 31, { token: 'ada' }), 30)
  assert.equal((await get(server, 'write', { token: 'ada', address: '198.51.100.9' })).statusCode, 429)
  assert.equal(await allowedOf(server, 'write', 31, { token: 'bob' }), 30)
  assert.equal(await allowedOf(server, 'write', 20, { token: 'ada-key-1' }), 20)
  assert.equal(await allowedOf(server, 'write', 31, { token: 'ada-key-2' }), 10)
})

test('a key is limited per hour, and told so', async () => {
  const { server: opening, advance } = openLimited()
  await using server = await opening
  assert.equal(await allowedOf(server, 'read', 26, { token: 'ada-key-2' }), 25)
  advance(600_500)
  const refused = await get(server, 'read', { token: 'ada-key-2' })
  assert.deepEqual([refused.statusCode, refused.json().code], [429, 'rate_limited'])
  const { headers } = refused
  assert.deepEqual(
    [
      headers['retry-after'],
      headers['x-ratelimit-limit'],
      headers['x-ratelimit-remaining'],
      headers['x-ratelimit-reset'],
    ],
    ['3000', '25', '0', '3000'],
  )
  assert.equal((await get(server, 'read', { token: 'ada-key-1' })).statusCode, 200)
  advance(2_999_499)
  assert.equal((await get(server, 'read', { token: 'ada-key-2' })).statusCode, 429)
  advance(1)
  assert.equal((await get(server, 'read', { token: 'ada-key-2' })).statusCode, 200)
})

describe('who proves nothing', () => {
  test('is counted by address: guessing a token ends in 429, and the owner of a good one is not shut out', async () => {
    await using server = await openLimited().server
    assert.equal(await allowedOf(server, 'write', 40, { token: 'guess' }), 30)
    assert.equal(await allowedOf(server, 'write', 1), 0)
    const refused = await get(server, 'write', { token: 'guess' })
    assert.equal(refused.json().code, 'rate_limited')
    assert.ok(Number(refused.headers['retry-after']) >= 1)
    assert.equal((await get(server, 'write', { token: 'ada' })).statusCode, 200)
    assert.equal(await allowedOf(server, 'login', 1), 1)
    assert.equal(await allowedOf(server, 'write', 1, { address: '192.0.2.2' }), 1)
  })

  test('is told the limits with the 401', async () => {
    await using server = await openLimited().server
    const reply = await get(server, 'read')
    assert.equal(reply.statusCode, 401)
    assert.equal(reply.headers['x-ratelimit-remaining'], '99')
    assert.equal(reply.headers['www-authenticate'], 'Bearer realm="hivesync"')
  })

  test('is one source per IPv4 address and per /64 of IPv6, however it is written', async () => {
    await using server = await openLimited().server
    assert.equal(await allowedOf(server, 'login', 10, { address: '2001:db8::1' }), 10)
    for (const address of ['2001:db8::2', '2001:db8:0:0:ffff:ffff:ffff:ffff', '2001:0DB8::0']) {
      assert.equal(await allowedOf(server, 'login', 1, { address }), 0, address)
    }
    assert.equal(await allowedOf(server, 'login', 1, { address: '2001:db8:0:1::1' }), 1)
    assert.equal(await allowedOf(server, 'login', 10, { address: '203.0.113.7' }), 10)
    assert.equal(await allowedOf(server, 'login', 1, { address: '::ffff:203.0.113.7' }), 0)
    assert.equal(await allowedOf(server, 'login', 1, { address: '203.0.113.8' }), 1)
  })
})

describe('X-Forwarded-For', () => {
  const spoofed = (i: number) => ({ forwarded: `203.0.113.${i}` })

  test('means nothing where no proxy is trusted', async () => {
    await using server = await openLimited().server
    let allowed = 0
    for (let i = 0; i < 20; i++) allowed += await allowedOf(server, 'login', 1, spoofed(i))
    assert.equal(allowed, 10)
  })

  const { trustedProxies } = parseConfig({ HIVESYNC_TRUSTED_PROXIES: '10.0.0.0/8, 2001:db8:aaaa::/48, 192.0.2.200' })
  const addressOf = async (from: From): Promise<string> => {
    await using server = await openLimited({ trustedProxies }).server
    let seen = ''
    const reply = await get(server, 'login', from)
    assert.equal(reply.statusCode, 200)
    for (const candidate of ['203.0.113.9', '198.51.100.1', '10.1.2.3', '192.0.2.1', '192.0.2.200', '1.2.3.4']) {
      const next = await get(server, 'login', { address: candidate })
      if (next.headers['x-ratelimit-remaining'] === '8') seen = candidate
    }
    return seen
  }

  test('is believed from a trusted proxy: the last address that is none of them', async () => {
    assert.equal(await addressOf({ address: '10.1.2.3', forwarded: '203.0.113.9' }), '203.0.113.9')
    assert.equal(await addressOf({ address: '192.0.2.200', forwarded: '203.0.113.9' }), '203.0.113.9')
    assert.equal(await addressOf({ address: '2001:db8:aaaa::7', forwarded: '203.0.113.9' }), '203.0.113.9')
    assert.equal(await addressOf({ address: '10.1.2.3', forwarded: '1.2.3.4, 203.0.113.9, 10.9.9.9' }), '203.0.113.9')
  })

  test('is not believed from anybody else', async () => {
    assert.equal(await addressOf({ address: '198.51.100.1', forwarded: '203.0.113.9' }), '198.51.100.1')
    assert.equal(await addressOf({ address: '198.51.100.1', forwarded: '203.0.113.9, 10.1.2.3' }), '198.51.100.1')
  })

  test('that holds no address makes one source of all such requests, never a fault', async () => {
    const { server: opening } = openLimited({ trustedProxies })
    await using server = await opening
    const texts = ['nonsense', '1.2.3.4:80', 'unknown', '"[::1]"', "' or 1=1", '_hidden', '', ', ,', 'fe80::1%eth0']
    for (const forwarded of texts) {
      const reply = await get(server, 'login', { address: '10.1.2.3', forwarded })
      assert.ok([200, 429].includes(reply.statusCode), `${forwarded}: ${reply.statusCode}`)
    }
    assert.deepEqual(
      server.logged.filter((line) => line.includes('"error"')),
      [],
    )
  })
})
