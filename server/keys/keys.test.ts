import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ApiKey, NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { generateApiKey } from './key-format.ts'
import { createBearerAuthenticator } from './keys.ts'

const keysPath = '/api/v1/api-keys'
const dayMs = 24 * 60 * 60 * 1000

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let root: Person
  let count = 0
  before(async () => {
    hive = await open()
    root = await hive.setUp()
  })
  const someone = () => hive.person(`person-${++count}`)
  const me = (token: string) => hive.call('GET', '/api/v1/auth/me', { token })
  const make = (person: Person, body: object) => hive.call('POST', keysPath, { token: person.token, body })
  async function keyOf(person: Person, more: object = {}): Promise<NewApiKey> {
    const reply = await make(person, { name: 'a key', scopes: ['read'], ...more })
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
    return reply.body as NewApiKey
  }
  const list = async (person: Person) =>
    (await hive.call('GET', keysPath, { token: person.token })).body.items as ApiKey[]
  const revoke = (person: Person, id: string) => hive.call('DELETE', `${keysPath}/${id}`, { token: person.token })
  const createProject = async (person: Person, token = person.token) =>
    hive.call('POST', '/api/v1/projects', { token, body: { name: 'p' } })
  async function setUser(person: Person, change: object): Promise<void> {
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', person.userId).execute()
    hive.ctx.bus.publish('identity')
  }
  async function assertRefused(apiKey: string): Promise<void> {
    const reply = await me(apiKey)
    assert.deepEqual([reply.status, reply.body.code], [401, 'invalid_token'])
  }

  describe('a new key', () => {
    test('is shown once and stored as a hash', async () => {
      const person = await someone()
      const { apiKey, ...shown } = await keyOf(person, { name: 'Laptop' })
      assert.deepEqual([shown.name, shown.scopes, shown.projectId, shown.replacedBy], ['Laptop', ['read'], null, null])
      assert.equal(shown.environment, 'test')
      assert.deepEqual(await list(person), [shown])
      const stored = await hive.ctx.db.kysely.selectFrom('apiKeys').selectAll().where('id', '=', shown.id).execute()
      assert.equal(stored[0]?.secretHash, sha256Hex(apiKey))
      const everything = JSON.stringify([stored, await hive.audited('api_key.created'), hive.logLines])
      assert.ok(!everything.includes(apiKey))
      assert.equal((await me(apiKey)).body.id, person.userId)
    })

    test('expires in 90 days unless it is said', async () => {
      const person = await someone()
      const now = hive.ctx.clock.now()
      assert.equal((await keyOf(person)).expiresAt, new Date(now + 90 * dayMs).toISOString())
    })

    test('may expire within 400 days and then is refused', async () => {
      const person = await someone()
      const now = hive.ctx.clock.now()
      const iso = (ms: number) => new Date(ms).toISOString()
      for (const expiresAt of [iso(now), iso(now - 1), iso(now + 400 * dayMs + 1), '2016-12-31T23:59:60Z', 'tomorrow'])
        assert.equal(
          (await make(person, { name: 'x', scopes: ['read'], expiresAt })).body.code,
          'invalid_request',
          expiresAt,
        )
      const { apiKey } = await keyOf(person, { expiresAt: iso(now + 60_000) })
      await keyOf(person, { expiresAt: iso(now + 400 * dayMs) })
      hive.advance(59_999)
      assert.equal((await me(apiKey)).status, 200)
      hive.advance(1)
      await assertRefused(apiKey)
      assert.equal((await list(person)).length, 1)
    })

    test('with the scope admin is for admins alone', async () => {
      const person = await someone()
      assert.equal((await make(person, { name: 'x', scopes: ['read', 'admin'] })).body.code, 'permission_denied')
      await keyOf(root, { scopes: ['admin'] })
    })

    test('with a scope that does not exist, twice the same, or none is refused', async () => {
      const person = await someone()
      for (const scopes of [[], ['root'], ['read', 'read'], 'read', null])
        assert.equal((await make(person, { name: 'x', scopes })).body.code, 'invalid_request')
    })

    test('is bound to a project only where its maker may read', async () => {
      const [owner, stranger] = [await someone(), await someone()]
      const projectId = String((await createProject(owner)).body.id)
      const foreign = await make(stranger, { name: 'x', scopes: ['read'], projectId })
      assert.deepEqual([foreign.status, foreign.body.code], [404, 'project_not_found'])
      const other = String((await createProject(owner)).body.id)
      const { apiKey } = await keyOf(owner, { scopes: ['write'], projectId })
      assert.equal((await hive.call('GET', `/api/v1/projects/${projectId}`, { token: apiKey })).status, 200)
      const outside = await hive.call('GET', `/api/v1/projects/${other}`, { token: apiKey })
      assert.equal(outside.body.code, 'project_not_found')
    })
  })

  describe('what a key may do', () => {
    test('is what its scopes grant', async () => {
      const person = await someone()
      const reading = await keyOf(person, { scopes: ['read'] })
      const writing = await keyOf(person, { scopes: ['write'] })
      const narrow = await keyOf(person, { scopes: ['jobs:read'] })
      assert.equal((await createProject(person, reading.apiKey)).body.code, 'permission_denied')
      assert.equal((await createProject(person, writing.apiKey)).status, 201)
      assert.equal((await me(narrow.apiKey)).body.code, 'permission_denied')
    })

    test('is an admin’s only with the scope admin, and only while the owner is one', async () => {
      const owner = await someone()
      await setUser(owner, { adminSince: hive.ctx.clock.now() })
      const bearer = createBearerAuthenticator(hive.ctx)
      const [plain, admin] = [await keyOf(owner, { scopes: ['write'] }), await keyOf(owner, { scopes: ['admin'] })]
      assert.equal((await bearer(plain.apiKey)).isAdmin, false)
      assert.equal((await bearer(admin.apiKey)).isAdmin, true)
      await setUser(owner, { adminSince: null })
      assert.equal((await bearer(admin.apiKey)).isAdmin, false)
      await bearer.settled()
    })

    test('bound to a project is no admin’s: it reaches that project and nothing of the whole', async () => {
      const project = (await createProject(root)).body
      const bound = await keyOf(root, { scopes: ['admin'], projectId: project.id })
      const bearer = createBearerAuthenticator(hive.ctx)
      const identity = await bearer(bound.apiKey)
      assert.equal(identity.isAdmin, false)
      assert.ok(identity.permissions.has('projects:write'))
      await bearer.settled()
    })

    test('is nothing that only a session may do, whatever its scopes', async () => {
      const { apiKey, id } = await keyOf(root, { scopes: ['admin', 'write'] })
      const attempts = [
        ['POST', keysPath, { name: 'x', scopes: ['read'] }],
        ['GET', keysPath, undefined],
        ['POST', `${keysPath}/${id}/rotate`, {}],
        ['DELETE', `${keysPath}/${id}`, undefined],
        ['GET', '/api/v1/auth/sessions', undefined],
        ['DELETE', '/api/v1/auth/sessions', undefined],
        ['DELETE', `/api/v1/auth/sessions/${root.sessionId}`, undefined],
        ['POST', '/api/v1/auth/logout', undefined],
      ] as const
      for (const [method, path, body] of attempts) {
        const reply = await hive.call(method, path, { token: apiKey, body })
        assert.deepEqual([reply.status, reply.body.code], [403, 'permission_denied'], `${method} ${path}`)
      }
      assert.equal((await me(root.token)).status, 200)
    })
  })

  describe('a key that is no longer good', () => {
    test('revoked, is refused on its next request though it was just accepted', async () => {
      const person = await someone()
      const { apiKey, id } = await keyOf(person)
      for (const _ of [1, 2]) assert.equal((await me(apiKey)).status, 200)
      assert.equal((await revoke(person, id)).status, 204)
      for (const _ of [1, 2]) await assertRefused(apiKey)
      assert.deepEqual(await list(person), [])
      assert.equal((await revoke(person, id)).body.code, 'api_key_not_found')
      const events = await hive.audited('api_key.revoked')
      assert.deepEqual(events.map((event) => event.targetId).includes(id), true)
    })

    test('stays revoked however many of its requests are under way', async () => {
      for (let round = 0; round < 10; round++) {
        const person = await someone()
        const { apiKey, id } = await keyOf(person)
        const crowd = () => Array.from({ length: 25 }, () => me(apiKey))
        await Promise.all([...crowd(), revoke(person, id), ...crowd()])
        await assertRefused(apiKey)
      }
    })

    test('is refused from the moment its revocation is answered, whatever was under way', async () => {
      const person = await someone()
      const { apiKey, id } = await keyOf(person)
      let isRevoked = false
      const statuses: [begunAfter: boolean, status: number][] = []
      const client = async () => {
        let begunAfter = false
        while (!begunAfter) {
          begunAfter = isRevoked
          statuses.push([begunAfter, (await me(apiKey)).status])
          // What is answered from memory takes no turn of the event loop: the revocation would get none.
          await nextTurn()
        }
      }
      const clients = Array.from({ length: 50 }, client)
      assert.equal((await revoke(person, id)).status, 204)
      isRevoked = true
      await Promise.all(clients)
      for (const [begunAfter, status] of statuses) if (begunAfter) assert.equal(status, 401)
    })

    test('of a deactivated owner is refused', async () => {
      const person = await someone()
      const { apiKey } = await keyOf(person)
      assert.equal((await me(apiKey)).status, 200)
      await setUser(person, { deactivatedAt: hive.ctx.clock.now() })
      await assertRefused(apiKey)
    })

    test('cannot be revoked by somebody else', async () => {
      const [owner, stranger] = [await someone(), await someone()]
      const { apiKey, id } = await keyOf(owner)
      const reply = await revoke(stranger, id)
      assert.deepEqual([reply.status, reply.body.code], [404, 'api_key_not_found'])
      assert.equal((await me(apiKey)).status, 200)
    })

    test('or never was one, is refused', async () => {
      const { apiKey } = await keyOf(await someone())
      for (const text of ['x', 'hs_', apiKey.slice(0, -1), `${apiKey}A`, `${apiKey.slice(0, -1)}_`, 'a'.repeat(4096)])
        await assertRefused(text)
      // Well formed, with the right checksum, and of nobody; then of a server of the other kind.
      await assertRefused(generateApiKey(hive.ctx.random, 'test').apiKey)
      await assertRefused(generateApiKey(hive.ctx.random, 'live').apiKey)
    })

    test('is refused at once when it was made up: strangers do not reach the database', () => {
      const bearer = createBearerAuthenticator(hive.ctx)
      const live = generateApiKey(hive.ctx.random, 'live').apiKey
      for (const text of ['x', `hs_test_${'A'.repeat(57)}`, live, 'a'.repeat(4096)])
        assert.throws(() => bearer(text), { code: 'invalid_token' })
    })
  })

  test('a key notes its use off the request’s path, at most once a minute', async () => {
    const person = await someone()
    const { apiKey } = await keyOf(person)
    const lastUsed = async () => {
      await hive.settled()
      return (await list(person))[0]?.lastUsedAt
    }
    assert.equal(await lastUsed(), null)
    const usedAt = new Date(hive.ctx.clock.now()).toISOString()
    await Promise.all([me(apiKey), me(apiKey), me(apiKey)])
    assert.equal(await lastUsed(), usedAt)
    hive.advance(59_000)
    await me(apiKey)
    assert.equal(await lastUsed(), usedAt)
    hive.advance(1_000)
    await me(apiKey)
    assert.equal(await lastUsed(), new Date(hive.ctx.clock.now()).toISOString())
  })

  test('keys are listed newest first, in pages, and only one’s own', async () => {
    const [person, other] = [await someone(), await someone()]
    await keyOf(other)
    const made = [await keyOf(person), await keyOf(person), await keyOf(person)].map((key) => key.id).reverse()
    const first = await hive.call('GET', `${keysPath}?limit=2`, { token: person.token })
    const second = await hive.call('GET', `${keysPath}?limit=2&cursor=${first.body.nextCursor}`, {
      token: person.token,
    })
    const ids = [...(first.body.items as ApiKey[]), ...(second.body.items as ApiKey[])].map((key) => key.id)
    assert.deepEqual([ids, second.body.nextCursor], [made, null])
  })

  test('a revocation at one replica is effective at the other', { skip: dialect === 'sqlite' }, async () => {
    const person = await someone()
    const { apiKey, id } = await keyOf(person)
    const replica = await again(hive)
    const there = () => replica.call('GET', '/api/v1/auth/me', { token: apiKey })
    assert.equal((await there()).status, 200)
    await revoke(person, id)
    assert.equal((await there()).body.code, 'invalid_token')
  })
})
