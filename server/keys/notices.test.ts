import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import { remindKeyExpiry } from './keys.ts'

const path = '/api/v1/api-keys'
const dayMs = 24 * 60 * 60_000

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let count = 0
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  /** Somebody new, signed in at this very time. */
  const someone = () => hive.person(`owner-${++count}`)
  const mailsTo = async ({ username }: Person) =>
    (await hive.mails()).filter(({ to, text }) => to === `${username}@hive.test` && text.includes('API key'))
  const expiryMailsTo = async (person: Person) =>
    (await hive.mails()).filter(({ to, subject }) => to === `${person.username}@hive.test` && /expire/.test(subject))
  async function keyOf(person: Person, days = 90, name = 'ci'): Promise<NewApiKey> {
    const expiresAt = new Date(hive.ctx.clock.now() + days * dayMs).toISOString()
    const reply = await hive.call('POST', path, { token: person.token, body: { name, scopes: ['read'], expiresAt } })
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
    return reply.body as NewApiKey
  }
  const rotate = (person: Person, { id }: NewApiKey) =>
    hive.call('POST', `${path}/${id}/rotate`, { token: person.token, body: {} })

  describe('the owner', () => {
    test('is told of a new key: its name, when, from where, and nothing that opens anything', async () => {
      const person = await someone()
      const key = await keyOf(person, 90, 'https://evil.test/click')
      const [mail, ...others] = await mailsTo(person)
      assert.equal(others.length, 0)
      assert.equal(mail?.subject, 'New API key in your account')
      const text = (mail?.text ?? '').replaceAll('\n', ' ')
      for (const part of [key.prefix, key.createdAt, 'from network 127.0.0.0/24', 'revoke the key'])
        assert.ok(text.includes(part), part)
      assert.ok(!text.includes(key.apiKey) && !text.includes(key.apiKey.slice(16, 30)))
      assert.ok(!text.includes('https://evil.test'))
    })

    test('is told of a rotation', async () => {
      const person = await someone()
      const old = await keyOf(person)
      const fresh = (await rotate(person, old)).body as NewApiKey
      const mail = (await mailsTo(person)).find(({ subject }) => subject === 'API key replaced in your account')
      const text = (mail?.text ?? '').replaceAll('\n', ' ')
      assert.ok(text.includes(`took the place of ${old.prefix}`) && text.includes(fresh.prefix))
    })

    test('is told of no key that was not made', async () => {
      const person = await someone()
      const body = { name: 'x', scopes: ['admin'] }
      assert.equal((await hive.call('POST', path, { token: person.token, body })).status, 403)
      assert.deepEqual(await mailsTo(person), [])
    })
  })

  describe('a key that expires', () => {
    test('is told of 7 days before, once, however often and by how many it is looked at', async () => {
      const person = await someone()
      const key = await keyOf(person, 30)
      hive.advance(23 * dayMs - 1)
      await remindKeyExpiry(hive.ctx)
      assert.deepEqual(await expiryMailsTo(person), [])
      hive.advance(1)
      await Promise.all(Array.from({ length: 10 }, () => remindKeyExpiry(hive.ctx)))
      hive.advance(dayMs)
      assert.equal(await remindKeyExpiry(hive.ctx), 0)
      const [mail, ...others] = await expiryMailsTo(person)
      assert.equal(others.length, 0)
      const text = (mail?.text ?? '').replaceAll('\n', ' ')
      assert.ok(text.includes(key.prefix) && text.includes(key.expiresAt ?? '') && text.includes('hivesync key rotate'))
    })

    test('shares one mail with the person’s others', async () => {
      const person = await someone()
      for (let i = 0; i < 23; i++) await keyOf(person, 30, `key number ${i}`)
      hive.advance(24 * dayMs)
      assert.equal(await remindKeyExpiry(hive.ctx), 23)
      const [mail, ...others] = await expiryMailsTo(person)
      assert.equal(others.length, 0)
      assert.ok(mail?.text.includes('So do 3 more.'), mail?.text)
    })

    test('is no news when it was made so short, is replaced or revoked, or its owner is gone', async () => {
      const [person, gone] = [await someone(), await someone()]
      await keyOf(person, 7)
      const [replaced, revoked] = [await keyOf(person, 14), await keyOf(person, 14)]
      await keyOf(gone, 14)
      await rotate(person, replaced)
      await hive.call('DELETE', `${path}/${revoked.id}`, { token: person.token })
      await hive.ctx.db.kysely
        .updateTable('users')
        .set({ deactivatedAt: hive.ctx.clock.now() })
        .where('id', '=', gone.userId)
        .execute()
      hive.advance(6 * dayMs)
      assert.equal(await remindKeyExpiry(hive.ctx), 0)
      // The successor has a life as long, and a reminder of its own.
      hive.advance(dayMs)
      assert.equal(await remindKeyExpiry(hive.ctx), 1)
      assert.equal((await expiryMailsTo(person)).length, 1)
      assert.deepEqual(await expiryMailsTo(gone), [])
    })

    test('is told of once, also by replicas at once', { skip: dialect === 'sqlite' }, async () => {
      const people = [await someone(), await someone(), await someone()]
      for (const person of people) await keyOf(person, 30)
      const replica = await again(hive)
      hive.advance(25 * dayMs)
      replica.advance(hive.ctx.clock.now() - replica.ctx.clock.now())
      await Promise.all([hive, replica, hive, replica].map((server) => remindKeyExpiry(server.ctx)))
      await remindKeyExpiry(hive.ctx)
      for (const person of people) assert.equal((await expiryMailsTo(person)).length, 1)
    })
  })
})
