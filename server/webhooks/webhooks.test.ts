import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import * as contract from '@hivesync/contracts/webhooks.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { deliver, deliveriesOf, listening, localEgress, tell, webhookFor } from './test-webhooks.ts'

describeHive('webhooks', (open) => {
  let hive: Hive
  let ada: Person
  let eve: Person
  before(async () => {
    hive = await open(localEgress)
    ada = await hive.person('ada')
    eve = await hive.person('eve')
  })
  const url = 'http://127.0.0.1:9/hook'
  const create = (who: Person, teamId: string, body: { url: string; events: string[] }) =>
    hive.call(contract.createWebhook, { token: who.token, params: { teamId }, body })
  const change = (who: Person, place: { teamId: string; webhookId: string }, body: object) =>
    hive.call(contract.updateWebhook, { token: who.token, params: place, body })

  test('show their secret once, at their making, and their public key always', async () => {
    const made = await webhookFor(hive, ada, url, ['job.*'])
    assert.match(made.secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
    assert.match(made.publicKey, /^whpk_[A-Za-z0-9+/]{43}=$/)
    const place = { teamId: ada.teamId, webhookId: made.id }
    const shown = await hive.call(contract.getWebhook, { token: ada.token, params: place })
    const { secret, ...rest } = made
    assert.deepEqual(shown.body, rest)
    const listed = await hive.call(contract.listWebhooks, { token: ada.token, params: { teamId: ada.teamId } })
    assert.ok(!JSON.stringify([listed.body, shown.body]).includes(secret.slice(6)))
    const published = await hive.call(contract.getWebhookKeys, { params: { webhookId: made.id } })
    assert.deepEqual(published.body.keys, made.keys)
    assert.equal(
      (await hive.call(contract.getWebhookKeys, { params: { webhookId: hive.ctx.random.id() } })).status,
      404,
    )
  })

  test('lie in the database without anything that would sign or verify', async () => {
    const { id, secret } = await webhookFor(hive, ada, url)
    const row = await hive.ctx.db.kysely
      .selectFrom('webhookKeys')
      .selectAll()
      .where('webhookId', '=', id)
      .executeTakeFirstOrThrow()
    const raw = Buffer.from(secret.slice(6), 'base64')
    for (const form of [raw.toString('base64'), raw.toString('base64url'), raw.toString('hex')])
      assert.ok(!JSON.stringify(row).includes(form))
    assert.match(row.sealedSecret, /^v1\./)
    assert.ok(!hive.logged.join('').includes(secret.slice(6)))
    // Neither can be put into the other's place.
    const swapped = { sealedSecret: row.sealedPrivateKey, sealedPrivateKey: row.sealedSecret }
    await hive.ctx.db.kysely.updateTable('webhookKeys').set(swapped).where('id', '=', row.id).execute()
    await tell(hive, ada.teamId)
    await deliver(hive)
    assert.ok(hive.logged.some((line) => line.includes('webhook_key_unreadable') && line.includes(id)))
    const place = { teamId: ada.teamId, webhookId: id }
    await hive.call(contract.deleteWebhook, { token: ada.token, params: place })
  })

  test('an address that no delivery would reach is refused at once, and says why', async () => {
    await using strict = await open()
    const bea = await strict.person('bea')
    for (const [bad, reason] of [
      ['http://8.8.8.8/', 'address_refused: only https is allowed'],
      ['https://127.0.0.1/', 'address_refused: the address is not one of the public internet'],
      ['https://[::ffff:10.0.0.1]/', 'address_refused: the address is not one of the public internet'],
      ['https://2130706433/', 'address_refused: the address is not one of the public internet'],
      ['https://8.8.8.8:22/', 'address_refused: only the ports'],
      ['https://user:pass@8.8.8.8/', 'address_refused: an address with a user'],
      ['https://8.8.8.8/#x', 'address_refused: an address with a fragment'],
      ['https://999.1.1.1/', 'address_refused: it is not an address'],
    ]) {
      const { token, teamId } = bea
      const body = { url: bad ?? '', events: ['*'] }
      const reply = await strict.call(contract.createWebhook, { token, params: { teamId }, body })
      assert.deepEqual([reply.status, reply.problem.code], [400, 'webhook_url_refused'], bad)
      assert.ok(reply.problem.detail?.startsWith(reason ?? ''), reply.problem.detail)
    }
    const place = { teamId: ada.teamId, webhookId: (await webhookFor(hive, ada, url)).id }
    assert.equal((await change(ada, place, { url: 'https://10.0.0.1/' })).problem.code, 'webhook_url_refused')
  })

  test('do not exist for other teams, whatever they try, and are no business of a mere member', async () => {
    const bees = await hive.call(teams.createTeam, { token: ada.token, body: { name: 'bees' } })
    const teamId = bees.body.id
    const { id: webhookId } = (await create(ada, teamId, { url, events: ['*'] })).body
    const own = (await webhookFor(hive, eve, url)).id
    const attempts = async (who: Person, place: { teamId: string; webhookId: string }) => {
      const of = { token: who.token, params: place }
      const deliveryId = hive.ctx.random.id()
      return Promise.all([
        hive.call(contract.getWebhook, of),
        hive.call(contract.updateWebhook, { ...of, body: { enabled: false } }),
        hive.call(contract.rotateWebhookSecret, { ...of, body: {} }),
        hive.call(contract.testWebhook, of),
        hive.call(contract.replayWebhook, { ...of, body: { deliveryId } }),
        hive.call(contract.listDeliveries, of),
        hive.call(contract.getDelivery, { token: who.token, params: { ...place, deliveryId } }),
        hive.call(contract.deleteWebhook, of),
      ])
    }
    for (const { status, problem } of await attempts(eve, { teamId, webhookId }))
      assert.deepEqual([status, problem.code], [404, 'team_not_found'])
    // In one's own team, with the id of another's.
    for (const { status, problem } of await attempts(eve, { teamId: eve.teamId, webhookId }))
      assert.deepEqual([status, problem.code], [404, 'webhook_not_found'])
    const member = { teamId, userId: eve.userId, role: 'member' as const, createdAt: 0 }
    await hive.ctx.db.kysely.insertInto('teamMembers').values(member).execute()
    for (const { status, problem } of await attempts(eve, { teamId, webhookId }))
      assert.deepEqual([status, problem.code], [403, 'permission_denied'])
    assert.equal((await create(eve, teamId, { url, events: ['*'] })).status, 403)
    assert.equal(
      (await hive.call(contract.getWebhook, { token: ada.token, params: { teamId, webhookId } })).status,
      200,
    )
    assert.equal((await change(eve, { teamId: eve.teamId, webhookId: own }, { enabled: true })).status, 200)
  })

  test('an API key needs the permission for them', async () => {
    const key = async (scope: 'webhooks:write' | 'webhooks:read' | 'jobs:write') => {
      const body = { name: scope, scopes: [scope] }
      return (await hive.call(keys.createApiKey, { token: ada.token, body })).body.apiKey
    }
    const request = { params: { teamId: ada.teamId }, body: { url, events: ['*'] } }
    assert.equal((await hive.call(contract.createWebhook, { ...request, token: await key('jobs:write') })).status, 403)
    assert.equal(
      (await hive.call(contract.createWebhook, { ...request, token: await key('webhooks:read') })).status,
      403,
    )
    assert.equal(
      (await hive.call(contract.createWebhook, { ...request, token: await key('webhooks:write') })).status,
      201,
    )
  })

  test('a team has as many as its plan allows, however many are made at once', async () => {
    const zoe = await hive.person('zoe')
    const made = await Promise.all(Array.from({ length: 8 }, () => create(zoe, zoe.teamId, { url, events: ['*'] })))
    assert.deepEqual(made.map(({ status }) => status).sort(), [201, 201, 201, 201, 201, 409, 409, 409])
    assert.equal(made.find(({ status }) => status === 409)?.problem.code, 'too_many_webhooks')
  })

  test('a filter that no event could pass, or a text that is none, is refused', async () => {
    for (const body of [
      { url, events: ['job.exploded'] },
      { url, events: [] },
      { url, events: ['*', '*'] },
      { url, events: ['job.**'] },
      { url: 'javascript:alert(1)', events: ['*'] },
      { url: `https://example.org/${'x'.repeat(2048)}`, events: ['*'] },
    ])
      assert.equal((await create(ada, ada.teamId, body)).problem.code, 'invalid_request', JSON.stringify(body))
  })

  test('the catalog names every event with a schema and an example of its data', async () => {
    const { items } = (await hive.call(contract.listWebhookEvents)).body
    assert.ok(items.length > 10)
    for (const { type, schema, example } of items) {
      assert.match(type, /^[a-z_]+\.[a-z_]+$/)
      const { properties, required } = schema as { properties: object; required: string[] }
      assert.deepEqual(Object.keys(example), Object.keys(properties))
      assert.ok(required.every((name) => name in example))
    }
  })

  test('gone with their team, and with their deliveries when they are deleted', async () => {
    await using receiver = await listening()
    const carl = await hive.person('carl')
    const { id } = await webhookFor(hive, carl, receiver.origin)
    await tell(hive, carl.teamId, 3)
    await deliver(hive)
    assert.equal((await deliveriesOf(hive, carl, id)).length, 3)
    const params = { teamId: carl.teamId, webhookId: id }
    assert.equal((await hive.call(contract.deleteWebhook, { token: carl.token, params })).status, 204)
    for (const table of ['webhookKeys', 'webhookDeliveries'] as const) {
      const left = await hive.ctx.db.kysely.selectFrom(table).select('id').where('webhookId', '=', id).execute()
      assert.deepEqual(left, [])
    }
  })
})
