import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/webhooks.ts'
import { Webhook } from 'standardwebhooks'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { enqueueEvent } from '../audit/audit.ts'
import { startBackground } from '../background.ts'
import { openDatabase } from '../platform/db/db.ts'
import { deliver, deliveriesOf, listening, localEgress, tell, webhookFor } from './test-webhooks.ts'

const minute = 60_000
const hour = 60 * minute

describeHive('a delivery', (open, { dialect }) => {
  const attemptsOf = async (hive: Hive, { token, teamId }: Person, webhookId: string, deliveryId: string) => {
    const params = { teamId, webhookId, deliveryId }
    return (await hive.call(contract.getDelivery, { token, params })).body
  }

  test('is signed as the standard says: its own library accepts it, and nothing that was changed', async () => {
    await using hive = await open({ ...localEgress, clock: { now: Date.now } })
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { secret } = await webhookFor(hive, ada, `${receiver.origin}/hook?key=1`)
    await tell(hive, ada.teamId)
    await deliver(hive)
    const [message] = receiver.received
    assert.ok(message)
    const headers = message.headers as Record<string, string>
    const payload = new Webhook(secret).verify(message.body, headers) as {
      type: string
      version: number
      timestamp: string
    }
    assert.deepEqual([payload.type, payload.version], ['project.updated', 1])
    assert.ok(Math.abs(Date.parse(payload.timestamp) - Date.now()) < hour)
    assert.match(headers['webhook-id'] ?? '', /^msg_[0-9a-f]{32}$/)
    assert.match(headers['webhook-signature'] ?? '', /^v1,\S{44} v1a,\S{88}$/)
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(message.path, '/hook?key=1')
    assert.throws(() => new Webhook(secret).verify(`${message.body} `, headers))
  })

  test('is made by the server on its own, soon after what it tells of', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    const stop = startBackground(hive.ctx)
    await tell(hive, ada.teamId, 3)
    await receiver.arrived(3)
    await hive.ctx.net.close()
    await stop()
    assert.deepEqual(
      (await deliveriesOf(hive, ada, id)).map(({ state }) => state),
      Array(3).fill('succeeded'),
    )
  })

  test('is made once for each event and endpoint that listens, in the order of the events', async () => {
    await using hive = await open(localEgress)
    await using all = await listening()
    await using some = await listening()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    await webhookFor(hive, ada, all.origin)
    await webhookFor(hive, ada, some.origin, ['job.*', 'member.added'])
    const events = ['job.submitted', 'project.updated', 'member.added', 'member.removed', 'job.failed', 'of.nobody']
    for (const topic of events) await tell(hive, ada.teamId, 1, topic)
    await tell(hive, bob.teamId, 1, 'job.failed')
    await deliver(hive)
    const typesAt = ({ received }: typeof all) => received.map(({ body }) => JSON.parse(body).type)
    // Two may be under way at once: what is kept in order is the list of them.
    assert.deepEqual(typesAt(all).sort(), events.slice(0, 5).sort())
    assert.deepEqual(typesAt(some).sort(), ['job.failed', 'job.submitted', 'member.added'])
    const idOf = (type: string, at: typeof all) =>
      at.received.find(({ body }) => JSON.parse(body).type === type)?.headers['webhook-id']
    assert.equal(idOf('job.failed', all), idOf('job.failed', some))
    const rows = await hive.ctx.db.kysely
      .selectFrom('webhookDeliveries')
      .select(['type', 'webhookId'])
      .orderBy('id')
      .execute()
    const first = rows.filter(({ webhookId }) => webhookId === rows[0]?.webhookId).map(({ type }) => type)
    assert.deepEqual(
      first,
      events.filter((type) => first.includes(type)),
    )
    assert.deepEqual(await hive.ctx.db.kysely.selectFrom('outbox').select('seq').execute(), [])
    await deliver(hive)
    assert.equal(all.received.length, 5)
  })

  test('says what the catalog names of the event, and nothing else that lay in the outbox', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    await webhookFor(hive, ada, receiver.origin)
    const projectId = hive.ctx.random.id()
    const payload = { projectId, secret: 'hunter2', name: 'x' }
    await hive.ctx.db.transaction((tx) =>
      enqueueEvent(hive.ctx, tx, { topic: 'project.created', teamId: ada.teamId, payload }),
    )
    await deliver(hive)
    assert.deepEqual(JSON.parse(receiver.received[0]?.body ?? '').data, { projectId })
  })

  test('that fails comes again by the schedule, under the same id at a new time, and fails for good after ten attempts', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening((_request, response) => void response.writeHead(500).end('broken'))
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId)
    const waits = [5000, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]
    for (const [index, base] of waits.entries()) {
      await deliver(hive)
      const [delivery] = await deliveriesOf(hive, ada, id)
      assert.deepEqual([delivery?.state, delivery?.attempts], ['pending', index + 1])
      const wait = Date.parse(delivery?.nextAttemptAt ?? '') - hive.clock.now()
      assert.ok(wait >= base * 0.8 && wait <= base * 1.2, `${wait} ms after attempt ${index + 1}`)
      hive.clock.advance(wait - 1)
      await deliver(hive)
      assert.equal(receiver.received.length, index + 1)
      // The breaker may hold the endpoint back for up to ten minutes.
      hive.clock.advance(1 + 10 * minute)
    }
    await deliver(hive)
    const [delivery] = await deliveriesOf(hive, ada, id)
    assert.deepEqual([delivery?.state, delivery?.attempts, delivery?.lastStatus], ['failed', 10, 500])
    hive.clock.advance(48 * hour)
    await deliver(hive)
    assert.equal(receiver.received.length, 10)
    const headers = receiver.received.map((message) => message.headers)
    assert.equal(new Set(headers.map((each) => each['webhook-id'])).size, 1)
    assert.equal(new Set(headers.map((each) => each['webhook-timestamp'])).size, 10)
  })

  test('waits as long as the receiver asks, but a day at most, and never less than the schedule', async () => {
    await using hive = await open(localEgress)
    const ada = await hive.person('ada')
    for (const [retryAfter, least, most] of [
      ['3600', hour, hour],
      ['999999999', 24 * hour, 24 * hour],
      ['0', 4000, 6000],
      ['soon', 4000, 6000],
      [new Date(hive.clock.now() + 2 * hour).toUTCString(), 2 * hour - 1000, 2 * hour],
    ] as const) {
      await using receiver = await listening(
        (_request, response) => void response.writeHead(503, { 'retry-after': retryAfter }).end(),
      )
      const { id } = await webhookFor(hive, ada, receiver.origin)
      await tell(hive, ada.teamId)
      await deliver(hive)
      const [delivery] = await deliveriesOf(hive, ada, id)
      const wait = Date.parse(delivery?.nextAttemptAt ?? '') - hive.clock.now()
      assert.ok(wait >= least && wait <= most, `${retryAfter}: ${wait}`)
      await hive.call(contract.deleteWebhook, { token: ada.token, params: { teamId: ada.teamId, webhookId: id } })
    }
  })

  test('is a success with 2xx alone; a redirect is none, and is not followed', async () => {
    await using hive = await open(localEgress)
    await using inner = await listening()
    await using receiver = await listening(
      (_request, response) => void response.writeHead(302, { location: inner.origin }).end(),
    )
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId)
    await deliver(hive)
    const [delivery] = await deliveriesOf(hive, ada, id)
    assert.deepEqual([delivery?.state, delivery?.lastError, delivery?.lastStatus], ['pending', 'redirect', 302])
    assert.deepEqual([receiver.received.length, inner.connections()], [1, 0])
  })

  test('to an address that is refused by now has failed at once, and is not tried again', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    // As if the operator had closed it since.
    const elsewhere = 'http://10.0.0.1/'
    await hive.ctx.db.kysely.updateTable('webhooks').set({ url: elsewhere }).where('id', '=', id).execute()
    await tell(hive, ada.teamId)
    await deliver(hive)
    const [delivery] = await deliveriesOf(hive, ada, id)
    assert.deepEqual([delivery?.state, delivery?.lastError], ['failed', 'address_refused'])
    assert.equal(receiver.connections(), 0)
  })

  test('is logged with what was sent and the first 4 KiB of the answer, and without a signature', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening(
      (_request, response) => void response.writeHead(200).end(`a\0b${'x'.repeat(9000)}`),
    )
    const ada = await hive.person('ada')
    const { id, secret } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId)
    await deliver(hive)
    const [delivery] = await deliveriesOf(hive, ada, id)
    const shown = await attemptsOf(hive, ada, id, delivery?.id ?? '')
    const [attempt] = shown.attemptLog
    assert.deepEqual(
      [shown.state, attempt?.status, attempt?.error, attempt?.remoteAddress],
      ['succeeded', 200, null, '127.0.0.1'],
    )
    assert.equal(attempt?.response?.length, 4096)
    assert.ok(attempt.response.startsWith('a\uFFFDb'))
    const sent = receiver.received[0]
    const { 'webhook-signature': signature, ...headers } = attempt.requestHeaders
    assert.equal(signature, 'v1,*** v1a,***')
    for (const [name, value] of Object.entries(headers)) assert.equal(sent?.headers[name], value)
    assert.equal(shown.payload, sent?.body)
    const real = String(sent?.headers['webhook-signature']).split(' ')
    const stored = JSON.stringify([shown, await hive.ctx.db.kysely.selectFrom('webhookAttempts').selectAll().execute()])
    for (const text of [secret.slice(6), ...real]) assert.ok(!`${stored}${hive.logged.join()}`.includes(text))
    const foreign = await webhookFor(hive, await hive.person('eve'), receiver.origin)
    const params = { teamId: foreign.teamId, webhookId: foreign.id, deliveryId: shown.id }
    const { token } = await hive.person('eve')
    assert.equal((await hive.call(contract.getDelivery, { token, params })).problem.code, 'delivery_not_found')
  })

  test('is forgotten 30 days after it was made, with its attempts, unless it still waits', async () => {
    const { pruneWebhooks } = await import('./webhooks.ts')
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId)
    await deliver(hive)
    hive.clock.advance(30 * 24 * hour - 1)
    await pruneWebhooks(hive.ctx)
    assert.equal((await hive.ctx.db.kysely.selectFrom('webhookDeliveries').select('id').execute()).length, 1)
    hive.clock.advance(2)
    await pruneWebhooks(hive.ctx)
    const { kysely } = hive.ctx.db
    assert.deepEqual(await kysely.selectFrom('webhookDeliveries').select('id').execute(), [])
    assert.deepEqual(await kysely.selectFrom('webhookAttempts').select('number').execute(), [])
    assert.equal((await kysely.selectFrom('webhooks').select('id').where('id', '=', id).execute()).length, 1)
  })

  test('is made and sent once, however many replicas there are', {
    skip: dialect === 'sqlite' && 'SQLite has one process',
  }, async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const endpoints = await Promise.all([0, 1, 2, 3].map((n) => webhookFor(hive, ada, `${receiver.origin}/${n}`)))
    const db = await openDatabase(hive.ctx.config.databaseUrl)
    const replica = { ...hive, ctx: { ...hive.ctx, db } }
    try {
      for (let round = 0; round < 5; round++) {
        await tell(hive, ada.teamId, 20)
        await Promise.all([deliver(hive), deliver(replica), deliver(hive), deliver(replica)])
      }
      await deliver(hive)
      await deliver(replica)
    } finally {
      await db.close()
    }
    const seen = receiver.received.map(({ path, headers }) => `${path} ${headers['webhook-id']}`)
    assert.equal(seen.length, 5 * 20 * endpoints.length)
    assert.equal(new Set(seen).size, seen.length)
  })
})
