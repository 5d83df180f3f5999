import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { ApiKey, NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import { nobody } from '../platform/actor.ts'
import { createApiKey, createBearerAuthenticator } from './keys.ts'

const path = '/api/v1/api-keys'
const maxKeys = 50

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let root: Person
  let count = 0
  before(async () => {
    hive = await open()
    root = await hive.setUp()
  })
  const someone = () => hive.person(`maker-${++count}`)
  const make = (person: Person, more: object = {}, server = hive) =>
    server.call('POST', path, { token: person.token, body: { name: 'a key', scopes: ['read'], ...more } })
  /** The same person in ten sessions: what one session does at once stands in line by itself. */
  async function tenfold(person: Person): Promise<Person[]> {
    const sessions: Person[] = []
    while (sessions.length < 10) sessions.push({ ...person, token: (await hive.logIn(person.username)).accessToken })
    return sessions
  }
  const list = async (person: Person) =>
    (await hive.call('GET', `${path}?limit=200`, { token: person.token })).body.items as ApiKey[]

  describe('a person', () => {
    test('has at most 50 live keys, however many are made at once', async () => {
      const person = await someone()
      for (let i = 0; i < maxKeys - 5; i++) assert.equal((await make(person)).status, 201)
      const sessions = await tenfold(person)
      const replies = await Promise.all(Array.from({ length: 5 }, () => sessions.map((each) => make(each))).flat())
      assert.equal(replies.filter(({ status }) => status === 201).length, 5)
      for (const { status, body } of replies)
        if (status !== 201) assert.deepEqual([status, body.code], [409, 'api_key_limit'])
      assert.equal((await list(person)).length, maxKeys)
      assert.equal((await make(await someone())).status, 201)
    })

    test('has room again when one is revoked or expires', async () => {
      const person = await someone()
      const soon = new Date(hive.ctx.clock.now() + 60_000).toISOString()
      const made = [(await make(person, { expiresAt: soon })).body as NewApiKey]
      for (let i = 1; i < maxKeys; i++) made.push((await make(person)).body as NewApiKey)
      assert.equal((await make(person)).status, 409)
      await hive.call('DELETE', `${path}/${made[1]?.id}`, { token: person.token })
      assert.deepEqual([(await make(person)).status, (await make(person)).status], [201, 409])
      hive.advance(60_000)
      assert.deepEqual([(await make(person)).status, (await make(person)).status], [201, 409])
    })

    test('has it across replicas too', { skip: dialect === 'sqlite' }, async () => {
      const person = await someone()
      const replica = await again(hive)
      for (let i = 0; i < maxKeys - 5; i++) await make(person)
      const sessions = await tenfold(person)
      const replies = await Promise.all(sessions.flatMap((each) => [make(each), make(each, {}, replica)]))
      assert.equal(replies.filter(({ status }) => status === 201).length, 5)
    })
  })

  describe('the limit of a key', () => {
    test('is 1000 requests an hour unless it is said, and told with the key', async () => {
      const person = await someone()
      assert.equal((await make(person)).body.rateLimitPerHour, 1000)
      assert.equal((await make(person, { rateLimitPerHour: 7 })).body.rateLimitPerHour, 7)
      assert.deepEqual(
        (await list(person)).map((key) => key.rateLimitPerHour),
        [7, 1000],
      )
    })

    test('is 1 to 10,000, and more for admins alone', async () => {
      const person = await someone()
      assert.equal((await make(person, { rateLimitPerHour: 10_000 })).status, 201)
      const refused = await make(person, { rateLimitPerHour: 10_001 })
      assert.deepEqual([refused.status, refused.body.code], [403, 'permission_denied'])
      assert.equal((await make(root, { rateLimitPerHour: 100_000 })).status, 201)
      for (const rateLimitPerHour of [0, -1, 1.5, 100_001, 1e300, '10', null])
        assert.equal((await make(root, { rateLimitPerHour })).body.code, 'invalid_request', String(rateLimitPerHour))
    })

    test('holds on the wire: the hour of one key, then what is left of the owner’s minute for another', async () => {
      const strict = await open({ config: { rateScale: 1 } })
      const person = await strict.setUp()
      const [small, large] = [
        (await make(person, { rateLimitPerHour: 20 }, strict)).body as NewApiKey,
        (await make(person, {}, strict)).body as NewApiKey,
      ]
      const ask = (token: string) => strict.call('GET', '/api/v1/auth/me', { token })
      const statuses = async (token: string, tries: number) => {
        const replies = await Promise.all(Array.from({ length: tries }, () => ask(token)))
        return replies.filter(({ status }) => status === 200).length
      }
      assert.equal(await statuses(small.apiKey, 50), 20)
      assert.equal((await ask(small.apiKey)).headers['retry-after'], '3600')
      assert.equal(await statuses(large.apiKey, 100), 80)
      assert.equal((await ask(large.apiKey)).headers['retry-after'], '60')
      assert.equal((await ask(person.token)).status, 200)
      strict.advance(60 * 60_000 - 1)
      assert.equal((await ask(small.apiKey)).status, 429)
      strict.advance(1)
      assert.equal((await ask(small.apiKey)).status, 200)
    })
  })

  test('a session that has ended meanwhile makes no key', async () => {
    const person = await someone()
    const identity = await createBearerAuthenticator(hive.ctx)(person.token)
    const actor = { ...identity, requestId: null, ip: null }
    await hive.call('POST', '/api/v1/auth/logout', { token: person.token })
    await assert.rejects(createApiKey(hive.ctx, actor, { name: 'x', scopes: ['read'] }), { code: 'session_revoked' })
    const keys = hive.ctx.db.kysely.selectFrom('apiKeys').selectAll().where('userId', '=', person.userId)
    assert.deepEqual(await keys.execute(), [])
  })

  test('nobody but a session makes a key, whatever a contract says', async () => {
    for (const kind of ['nobody', 'key', 'worker', 'system'] as const) {
      const actor = { ...nobody, kind, userId: root.userId, requestId: null, ip: null }
      await assert.rejects(createApiKey(hive.ctx, actor, { name: 'x', scopes: ['read'] }), {
        code: 'permission_denied',
      })
    }
  })

  test('a production server makes live keys, which other servers refuse', async () => {
    const production = await open({ config: { profile: 'production' } })
    const person = await production.setUp()
    const { apiKey, environment } = (await make(person, {}, production)).body as NewApiKey
    assert.equal(environment, 'live')
    assert.ok(apiKey.startsWith('hs_live_'))
    assert.equal((await production.call('GET', '/api/v1/auth/me', { token: apiKey })).status, 200)
    // The same rows, read by a server of another profile: a copy of the data for trying things out.
    const copy = { ...production.ctx, config: { ...production.ctx.config, profile: 'staging' as const } }
    assert.throws(() => createBearerAuthenticator(copy)(apiKey), { code: 'invalid_token' })
  })
})
