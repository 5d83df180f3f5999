import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { ApiKey, NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import { setRevocationEffects } from '../platform/revocation.ts'
import { registerRevocations } from '../revocations.ts'

const path = '/api/v1/api-keys'
const hourMs = 60 * 60_000
const dayMs = 24 * hourMs

identitiesOn((open) => {
  let hive: Identities
  let count = 0
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  const someone = () => hive.person(`rotator-${++count}`)
  async function keyOf(person: Person, more: object = {}): Promise<NewApiKey> {
    const body = { name: 'a key', scopes: ['read'], ...more }
    const reply = await hive.call('POST', path, { token: person.token, body })
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
    return reply.body as NewApiKey
  }
  const rotate = (person: Person, id: string, body: object = {}) =>
    hive.call('POST', `${path}/${id}/rotate`, { token: person.token, body })
  async function rotated(person: Person, id: string, body: object = {}): Promise<NewApiKey> {
    const reply = await rotate(person, id, body)
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
    return reply.body as NewApiKey
  }
  const revoke = (person: Person, id: string) => hive.call('DELETE', `${path}/${id}`, { token: person.token })
  const list = async (person: Person) => (await hive.call('GET', path, { token: person.token })).body.items as ApiKey[]
  const works = async ({ apiKey }: NewApiKey) =>
    (await hive.call('GET', '/api/v1/auth/me', { token: apiKey })).status === 200
  const iso = (ms: number) => new Date(ms).toISOString()

  describe('a rotation', () => {
    test('makes a key like the old one, and the old one lives on for a day', async () => {
      const person = await someone()
      const projectId = (await hive.call('POST', '/api/v1/projects', { token: person.token, body: { name: 'p' } })).body
        .id
      const expiresAt = iso(hive.ctx.clock.now() + 30 * dayMs)
      const more = { name: 'ci', scopes: ['jobs:read', 'read'], projectId, expiresAt, rateLimitPerHour: 77 }
      const old = await keyOf(person, more)
      hive.advance(10 * dayMs)
      const { token } = await hive.logIn(person.username).then((login) => ({ token: login.accessToken }))
      const now = hive.ctx.clock.now()
      const fresh = await rotated({ ...person, token }, old.id)
      assert.deepEqual(
        [fresh.name, fresh.scopes, fresh.projectId, fresh.rateLimitPerHour, fresh.expiresAt, fresh.replacedBy],
        ['ci', ['jobs:read', 'read'], projectId, 77, iso(now + 30 * dayMs), null],
      )
      assert.notEqual(fresh.apiKey, old.apiKey)
      const shown = (await list({ ...person, token })).find(({ id }) => id === old.id)
      assert.deepEqual([shown?.replacedBy, shown?.expiresAt], [fresh.id, iso(now + dayMs)])
      assert.deepEqual([await works(old), await works(fresh)], [true, true])
      hive.advance(dayMs - 1)
      assert.ok(await works(old))
      hive.advance(1)
      assert.deepEqual([await works(old), await works(fresh)], [false, true])
    })

    test('never lets the old key live longer than it would have', async () => {
      const person = await someone()
      const expiresAt = iso(hive.ctx.clock.now() + hourMs)
      const old = await keyOf(person, { expiresAt })
      await rotated(person, old.id, { overlapSeconds: 604_800 })
      assert.equal((await list(person)).find(({ id }) => id === old.id)?.expiresAt, expiresAt)
    })

    test('without overlap ends the old key at once, and what stands on it', async () => {
      const person = await someone()
      const old = await keyOf(person)
      assert.ok(await works(old))
      const ended: (readonly string[])[] = []
      setRevocationEffects(hive.ctx, [
        {
          name: 'notes',
          apply: async (_ctx, _tx, _actor, { apiKeys = [] }) => {
            ended.push(apiKeys)
            return undefined
          },
        },
      ])
      const fresh = await rotated(person, old.id, { overlapSeconds: 0 })
      registerRevocations(hive.ctx)
      assert.deepEqual([await works(old), await works(fresh)], [false, true])
      assert.deepEqual(ended, [[old.id]])
      assert.deepEqual(
        (await list(person)).map(({ id }) => id),
        [fresh.id],
      )
    })

    test('ends the overlap of the one before: a key is never more than two', async () => {
      const person = await someone()
      const first = await keyOf(person)
      const second = await rotated(person, first.id)
      const third = await rotated(person, second.id)
      assert.deepEqual([await works(first), await works(second), await works(third)], [false, true, true])
    })

    test('takes 0 seconds to 7 days of overlap and nothing else', async () => {
      const person = await someone()
      const { id } = await keyOf(person)
      for (const overlapSeconds of [-1, 604_801, 1.5, '60', null, 1e300])
        assert.equal(
          (await rotate(person, id, { overlapSeconds })).body.code,
          'invalid_request',
          String(overlapSeconds),
        )
      await rotated(person, id, { overlapSeconds: 604_800 })
    })

    test('is possible where there is room for no further key', async () => {
      const person = await someone()
      const keys = [await keyOf(person)]
      while (keys.length < 49) keys.push(await keyOf(person))
      const fresh = await rotated(person, keys[0]?.id ?? '')
      // The old one lives on, but has no place of its own.
      await keyOf(person)
      assert.ok(await works(await rotated(person, fresh.id)))
      const full = await hive.call('POST', path, { token: person.token, body: { name: 'x', scopes: ['read'] } })
      assert.equal(full.body.code, 'api_key_limit')
    })

    test('is remembered, without the key', async () => {
      const person = await someone()
      const old = await keyOf(person)
      const fresh = await rotated(person, old.id, { overlapSeconds: 60 })
      const event = (await hive.audited('api_key.rotated')).find(({ targetId }) => targetId === old.id)
      assert.deepEqual(JSON.parse(String(event?.details)), { replacedBy: fresh.id, overlapSeconds: 60 })
      assert.ok(!JSON.stringify([event, hive.logLines]).includes(fresh.apiKey))
    })
  })

  describe('a rotation is refused', () => {
    test('of somebody else’s key, a revoked, an expired and an unknown one: they do not exist', async () => {
      const [person, stranger] = [await someone(), await someone()]
      const [key, gone] = [await keyOf(person), await keyOf(person)]
      const expired = await keyOf(person, { expiresAt: iso(hive.ctx.clock.now() + 1000) })
      await revoke(person, gone.id)
      hive.advance(1000)
      const unknown = '01890000-0000-7000-8000-000000000000'
      for (const [who, id] of [
        [stranger, key.id],
        [person, gone.id],
        [person, expired.id],
        [person, unknown],
      ] as const) {
        const reply = await rotate(who, id)
        assert.deepEqual([reply.status, reply.body.code], [404, 'api_key_not_found'])
      }
      assert.ok(await works(key))
    })

    test('of a key that has been replaced', async () => {
      const person = await someone()
      const { id } = await keyOf(person)
      await rotated(person, id)
      const reply = await rotate(person, id)
      assert.deepEqual([reply.status, reply.body.code], [409, 'api_key_rotated'])
    })

    test('where the person could no longer make such a key', async () => {
      const [person, other] = [await someone(), await someone()]
      await setAdmin(person, hive.ctx.clock.now())
      const [admin, wide] = [
        await keyOf(person, { scopes: ['admin'] }),
        await keyOf(person, { rateLimitPerHour: 50_000 }),
      ]
      const projectId = (await hive.call('POST', '/api/v1/projects', { token: other.token, body: { name: 'q' } })).body
        .id
      const bound = await keyOf(person)
      await hive.ctx.db.kysely
        .updateTable('apiKeys')
        .set({ projectId: String(projectId) })
        .where('id', '=', bound.id)
        .execute()
      await setAdmin(person, null)
      assert.equal((await rotate(person, admin.id)).body.code, 'permission_denied')
      assert.equal((await rotate(person, bound.id)).body.code, 'project_not_found')
      assert.equal((await rotated(person, wide.id)).rateLimitPerHour, 10_000)
    })
  })

  describe('at once', () => {
    test('of 50 rotations of a key exactly one wins, and nothing is left of the others', async () => {
      const person = await someone()
      const old = await keyOf(person)
      // Ten sessions: what one does at once stands in line by itself.
      const sessions: Person[] = []
      while (sessions.length < 10) sessions.push({ ...person, token: (await hive.logIn(person.username)).accessToken })
      const ask = () => sessions.map((each) => rotate(each, old.id))
      const replies = await Promise.all(Array.from({ length: 5 }, ask).flat())
      const won = replies.filter(({ status }) => status === 201)
      assert.equal(won.length, 1)
      for (const { status, body } of replies)
        if (status !== 201) assert.deepEqual([status, body.code], [409, 'api_key_rotated'])
      const keys = await list(person)
      assert.deepEqual(
        keys.map(({ id }) => id),
        [won[0]?.body.id, old.id],
      )
    })

    test('with its revocation, a rotation leaves the old key dead and at most its own new key alive', async () => {
      for (let round = 0; round < 10; round++) {
        const person = await someone()
        const old = await keyOf(person)
        const [rotation, revocation] = await Promise.all([rotate(person, old.id), revoke(person, old.id)])
        assert.equal(revocation.status, 204)
        assert.ok(!(await works(old)))
        if (rotation.status === 201) assert.ok(await works(rotation.body as NewApiKey))
        else assert.equal(rotation.body.code, 'api_key_not_found')
        assert.equal((await list(person)).length, rotation.status === 201 ? 1 : 0)
      }
    })
  })

  test('old and new key share one limit: a rotation doubles nothing', async () => {
    const strict = await open({ config: { rateScale: 1 } })
    const person = await strict.setUp()
    const call = (method: 'GET' | 'POST', where: string, token: string, body?: object) =>
      strict.call(method, where, { token, ...(body !== undefined && { body }) })
    const old = (await call('POST', path, person.token, { name: 'k', scopes: ['read'], rateLimitPerHour: 10 }))
      .body as NewApiKey
    const used = async ({ apiKey }: NewApiKey, tries: number) => {
      const replies = await Promise.all(Array.from({ length: tries }, () => call('GET', '/api/v1/auth/me', apiKey)))
      return replies.filter(({ status }) => status === 200).length
    }
    assert.equal(await used(old, 4), 4)
    const second = (await call('POST', `${path}/${old.id}/rotate`, person.token, {})).body as NewApiKey
    assert.equal(await used(second, 4), 4)
    const third = (await call('POST', `${path}/${second.id}/rotate`, person.token, {})).body as NewApiKey
    assert.equal(await used(third, 10), 2)
  })

  async function setAdmin(person: Person, adminSince: number | null): Promise<void> {
    await hive.ctx.db.kysely.updateTable('users').set({ adminSince }).where('id', '=', person.userId).execute()
    hive.ctx.bus.publish('identity')
  }
})
