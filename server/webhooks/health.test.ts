import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/webhooks.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { consumeOutbox } from '../outbox/outbox.ts'
import { createBus } from '../platform/bus.ts'
import { policy } from './policy.ts'
import { deliver, deliveriesOf, listening, localEgress, tell, webhookFor } from './test-webhooks.ts'
import { sendWebhooks, toWebhooks, webhooksSettled } from './webhooks.ts'

const minute = 60_000
const hour = 60 * minute

describeHive('an endpoint', (open) => {
  const show = async (hive: Hive, { username, teamId }: Person, webhookId: string) => {
    const { token } = await hive.logInAgain(username)
    return (await hive.call(contract.getWebhook, { token, params: { teamId, webhookId } })).body
  }
  const noticesTo = async (hive: Hive, address: string) =>
    (await hive.mails())
      .filter(({ to, text }) => to === address && text.includes('webhook'))
      .map(({ text }) => text.replaceAll('\n', ' '))
  const replay = async (hive: Hive, { username, teamId }: Person, webhookId: string, body: object) => {
    const { token } = await hive.logInAgain(username)
    return hive.call(contract.replayWebhook, { token, params: { teamId, webhookId }, body: body as never })
  }

  test('that hangs delays no other, and has two requests under way at most', async () => {
    await using hive = await open(localEgress)
    await using hanging = await listening(() => {})
    await using healthy = await listening()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    await webhookFor(hive, ada, hanging.origin)
    await webhookFor(hive, ada, healthy.origin)
    await webhookFor(hive, bob, healthy.origin)
    await tell(hive, ada.teamId, 50)
    await consumeOutbox(hive.ctx, [toWebhooks])
    assert.equal(await sendWebhooks(hive.ctx), 2)
    await healthy.arrived(50)
    await tell(hive, bob.teamId, 50)
    await consumeOutbox(hive.ctx, [toWebhooks])
    assert.equal(await sendWebhooks(hive.ctx), 1)
    await healthy.arrived(100)
    assert.equal(hanging.received.length, 2)
    await hanging.close()
    await webhooksSettled(hive.ctx)
  })

  test('has one lane and two requests under way also when its lease ran out beneath it, as when the clock was set', async () => {
    await using hive = await open(localEgress)
    const held: (() => void)[] = []
    await using receiver = await listening((_request, response, index) => {
      const answer = () => void response.writeHead(204).end()
      if (index < 2) held.push(answer)
      else answer()
    })
    await using other = await listening()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    await webhookFor(hive, ada, receiver.origin)
    await webhookFor(hive, bob, other.origin)
    await tell(hive, ada.teamId, 5)
    await consumeOutbox(hive.ctx, [toWebhooks])
    await sendWebhooks(hive.ctx)
    await receiver.arrived(2)
    hive.clock.advance(policy.leaseMs + 1)
    await tell(hive, bob.teamId)
    await consumeOutbox(hive.ctx, [toWebhooks])
    assert.equal(await sendWebhooks(hive.ctx), 2)
    await other.arrived(1)
    for (const answer of held) answer()
    await webhooksSettled(hive.ctx)
    await deliver(hive)
    const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
    assert.deepEqual([ids.length, new Set(ids).size], [5, 5])
  })

  test('that is slow gives its place to others after half a minute, and goes on in its turn', async () => {
    await using hive = await open(localEgress)
    // Each request takes ten seconds.
    await using receiver = await listening((_request, response) => {
      hive.clock.advance(10_000)
      response.writeHead(204).end()
    })
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 10)
    await consumeOutbox(hive.ctx, [toWebhooks])
    await sendWebhooks(hive.ctx)
    await webhooksSettled(hive.ctx)
    // The third ends its turn; the other slot may have one under way.
    assert.ok(receiver.received.length >= 3 && receiver.received.length <= 4, `${receiver.received.length}`)
    const row = hive.ctx.db.kysely.selectFrom('webhooks').select(['leasedBy', 'nextRunAt']).where('id', '=', id)
    const { leasedBy, nextRunAt } = await row.executeTakeFirstOrThrow()
    assert.deepEqual([leasedBy, nextRunAt], [null, hive.clock.now()])
    await deliver(hive)
    assert.equal(receiver.received.length, 10)
  })

  test('that is disabled while deliveries are under way gets no more of them, and those that arrived count', async () => {
    await using hive = await open(localEgress)
    const held: (() => void)[] = []
    await using receiver = await listening((_request, response) => {
      held.push(() => void response.writeHead(204).end())
    })
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 10)
    await consumeOutbox(hive.ctx, [toWebhooks])
    await sendWebhooks(hive.ctx)
    await receiver.arrived(2)
    const request = { token: ada.token, params: { teamId: ada.teamId, webhookId: id }, body: { enabled: false } }
    assert.equal((await hive.call(contract.updateWebhook, request)).body.disabledReason, 'by_hand')
    for (const answer of held) answer()
    await webhooksSettled(hive.ctx)
    assert.equal(receiver.received.length, 2)
    const states = (await deliveriesOf(hive, ada, id)).map(({ state }) => state).sort()
    assert.deepEqual(states, [...Array(8).fill('skipped'), 'succeeded', 'succeeded'])
  })

  test('that is disabled by another replica gets no more once an attempt has failed, and is not blamed for that', async () => {
    await using hive = await open(localEgress)
    const held: (() => void)[] = []
    await using receiver = await listening((_request, response, index) => {
      const answer = () => void response.writeHead(500).end()
      if (index < 2) held.push(answer)
      else answer()
    })
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 10)
    // It does not hear what is said in this process.
    const replica = { ...hive.ctx, bus: createBus() }
    await consumeOutbox(replica, [toWebhooks])
    await sendWebhooks(replica)
    await receiver.arrived(2)
    const request = { token: ada.token, params: { teamId: ada.teamId, webhookId: id }, body: { enabled: false } }
    await hive.call(contract.updateWebhook, request)
    for (const answer of held) answer()
    await webhooksSettled(replica)
    assert.equal(receiver.received.length, 2)
    const states = (await deliveriesOf(hive, ada, id)).map(({ state, attempts }) => `${state} ${attempts}`)
    assert.deepEqual(states, Array(10).fill('skipped 0'))
    assert.equal((await show(hive, ada, id)).failures, 0)
  })

  test('that is deleted while deliveries are under way leaves nothing behind, and no fault', async () => {
    await using hive = await open(localEgress)
    const held: (() => void)[] = []
    await using receiver = await listening((_request, response, index) => {
      held.push(() => void response.writeHead(index === 0 ? 204 : 500).end())
    })
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 10)
    await consumeOutbox(hive.ctx, [toWebhooks])
    await sendWebhooks(hive.ctx)
    await receiver.arrived(2)
    const params = { teamId: ada.teamId, webhookId: id }
    assert.equal((await hive.call(contract.deleteWebhook, { token: ada.token, params })).status, 204)
    for (const answer of held) answer()
    await webhooksSettled(hive.ctx)
    assert.equal(receiver.received.length, 2)
    assert.deepEqual(await hive.ctx.db.kysely.selectFrom('webhookAttempts').select('number').execute(), [])
    assert.ok(!hive.logged.some((line) => line.includes('webhook_lane_failed')))
  })

  test('that is being told when the server stops is blamed for nothing, and free for the next process at once', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening(() => {})
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 3)
    await consumeOutbox(hive.ctx, [toWebhooks])
    await sendWebhooks(hive.ctx)
    await receiver.arrived(2)
    await hive.ctx.net.close()
    await webhooksSettled(hive.ctx)
    const attempts = (await deliveriesOf(hive, ada, id)).map(({ state, attempts }) => [state, attempts])
    assert.deepEqual(attempts, Array(3).fill(['pending', 0]))
    const row = hive.ctx.db.kysely
      .selectFrom('webhooks')
      .select(['leasedBy', 'failures', 'nextRunAt'])
      .where('id', '=', id)
    const { leasedBy, failures, nextRunAt } = await row.executeTakeFirstOrThrow()
    assert.deepEqual([leasedBy, failures, nextRunAt], [null, 0, hive.clock.now()])
    assert.equal(await sendWebhooks(hive.ctx), 0)
  })

  test('that fails five times in a row is left alone, tried with one delivery, and gets the rest when that succeeds', async () => {
    await using hive = await open(localEgress)
    let isBroken = true
    await using receiver = await listening((_request, response) => void response.writeHead(isBroken ? 500 : 204).end())
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 30)
    await deliver(hive)
    // Two are under way at once: one may follow the fifth.
    assert.ok(receiver.received.length <= 6, `${receiver.received.length}`)
    const paused = await show(hive, ada, id)
    assert.equal(paused.state, 'paused')
    const before = receiver.received.length
    await tell(hive, ada.teamId, 1)
    hive.clock.advance(20_000)
    await deliver(hive)
    assert.equal(receiver.received.length, before)
    hive.clock.advance(45_000)
    await deliver(hive)
    assert.equal(receiver.received.length, before + 1)
    isBroken = false
    hive.clock.advance(10 * minute)
    await deliver(hive)
    const states = (await deliveriesOf(hive, ada, id)).map(({ state }) => state)
    assert.deepEqual(new Set(states), new Set(['succeeded']))
    const { state, failures, failingSince } = await show(hive, ada, id)
    assert.deepEqual([state, failures, failingSince], ['active', 0, null])
  })

  test('that says it is too busy is left alone for as long as it says', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening(
      (_request, response) => void response.writeHead(429, { 'retry-after': '600' }).end(),
    )
    const ada = await hive.person('ada')
    await webhookFor(hive, ada, receiver.origin)
    await tell(hive, ada.teamId, 10)
    await deliver(hive)
    const before = receiver.received.length
    assert.ok(before <= 2)
    hive.clock.advance(599_000)
    await deliver(hive)
    assert.equal(receiver.received.length, before)
  })

  test('that answers 410 is disabled: its owners hear by mail, its team by event, and what came is skipped until a replay', async () => {
    await using hive = await open(localEgress)
    let isGone = true
    await using receiver = await listening((_request, response) => void response.writeHead(isGone ? 410 : 204).end())
    await using other = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, `${receiver.origin}/secret-path`, ['project.*'])
    await webhookFor(hive, ada, other.origin, ['webhook.*'])
    await tell(hive, ada.teamId, 5)
    await deliver(hive)
    const gone = await show(hive, ada, id)
    assert.deepEqual([gone.state, gone.disabledReason], ['disabled', 'gone'])
    assert.ok(receiver.received.length <= 2)
    await deliver(hive)
    assert.deepEqual(JSON.parse(other.received[0]?.body ?? '').data, { webhookId: id, reason: 'gone' })
    const mails = await noticesTo(hive, 'ada@example.net')
    assert.match(mails.join(), /disabled: it answered 410/)
    assert.deepEqual([mails.length, mails.join().includes('secret-path')], [1, false])
    const audited = hive.ctx.db.kysely.selectFrom('auditEvents').select(['details', 'actorKind', 'teamId'])
    const rows = await audited.where('action', '=', 'webhook.disabled').execute()
    assert.deepEqual(
      rows.map(({ actorKind, teamId }) => [actorKind, teamId]),
      [['system', ada.teamId]],
    )

    await tell(hive, ada.teamId, 3)
    await deliver(hive)
    const states = (await deliveriesOf(hive, ada, id)).map(({ state }) => state)
    assert.equal(states.filter((state) => state === 'skipped').length, 7)
    assert.equal(states.filter((state) => state === 'failed').length, 1)
    const since = new Date(hive.clock.now() - minute).toISOString()
    assert.equal((await replay(hive, ada, id, { failedSince: since })).problem.code, 'webhook_disabled')
    const request = { token: ada.token, params: { teamId: ada.teamId, webhookId: id }, body: { enabled: true } }
    assert.equal((await hive.call(contract.updateWebhook, request)).body.state, 'active')
    isGone = false
    const before = receiver.received.length
    const outcome = { replayed: 8, remaining: false, next: null }
    assert.deepEqual((await replay(hive, ada, id, { failedSince: since })).body, outcome)
    await deliver(hive)
    assert.equal(receiver.received.length, before + 8)
    assert.deepEqual(new Set((await deliveriesOf(hive, ada, id)).map(({ state }) => state)), new Set(['succeeded']))
  })

  test('that fails for five days without a success is disabled, and one success on the way begins the count anew', async () => {
    await using hive = await open(localEgress)
    let status = 500
    await using receiver = await listening((_request, response) => void response.writeHead(status).end())
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    const days = async (count: number) => {
      for (let hours = 0; hours < count * 24; hours += 6) {
        await tell(hive, ada.teamId)
        await deliver(hive)
        hive.clock.advance(6 * hour)
      }
    }
    await days(4)
    status = 204
    await days(1)
    status = 500
    await days(4.75)
    assert.notEqual((await show(hive, ada, id)).state, 'disabled')
    await days(1)
    const { state, disabledReason } = await show(hive, ada, id)
    assert.deepEqual([state, disabledReason], ['disabled', 'failing'])
    assert.match((await noticesTo(hive, 'ada@example.net')).join(), /attempts failed, for 5 days/)
  })

  test('is tested by a real delivery, whatever it listens to', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin, ['job.failed'])
    const place = { token: ada.token, params: { teamId: ada.teamId, webhookId: id } }
    const reply = await hive.call(contract.testWebhook, place)
    assert.deepEqual([reply.status, reply.body.state], [202, 'pending'])
    await deliver(hive)
    const [message] = receiver.received
    assert.deepEqual(
      [JSON.parse(message?.body ?? '').type, message?.headers['webhook-id']],
      ['webhook.test', reply.body.messageId],
    )
    await hive.call(contract.updateWebhook, { ...place, body: { enabled: false } })
    assert.equal((await hive.call(contract.testWebhook, place)).problem.code, 'webhook_disabled')
  })

  test('gets one delivery again, or a range by type, under the ids that they had; foreign ones are not found', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const { id } = await webhookFor(hive, ada, receiver.origin)
    const foreign = await webhookFor(hive, eve, receiver.origin)
    const from = new Date(hive.clock.now()).toISOString()
    await tell(hive, ada.teamId, 3, 'job.failed')
    await tell(hive, ada.teamId, 2)
    await deliver(hive)
    hive.clock.advance(hour)
    const to = new Date(hive.clock.now()).toISOString()
    hive.clock.advance(1000)
    await tell(hive, ada.teamId, 1, 'job.failed')
    await deliver(hive)
    const deliveries = await deliveriesOf(hive, ada, id)
    const [first] = deliveries
    assert.equal((await replay(hive, eve, foreign.id, { deliveryId: first?.id })).problem.code, 'delivery_not_found')
    assert.equal((await replay(hive, ada, id, { deliveryId: first?.id })).body.replayed, 1)
    await deliver(hive)
    assert.equal(receiver.received.at(-1)?.headers['webhook-id'], first?.messageId)
    assert.equal((await replay(hive, ada, id, { from, to, types: ['job.failed'] })).body.replayed, 3)
    await deliver(hive)
    assert.equal((await replay(hive, ada, id, { from, to: from })).body.replayed, 5)
    await deliver(hive)
    assert.equal(receiver.received.length, 6 + 1 + 3 + 5)
    const after = await deliveriesOf(hive, ada, id)
    assert.deepEqual(after.map(({ attempts }) => attempts).sort(), [1, 2, 2, 3, 3, 4])
    for (const body of [{}, { failedSince: 'yesterday' }, { from }, { deliveryId: first?.id, from, to }])
      assert.equal((await replay(hive, ada, id, body)).problem.code, 'invalid_request')
  })

  test('is no means to flood: while a thousand wait, nothing is replayed, and then the rest', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, receiver.origin)
    for (let second = 0; second < 11; second++) {
      await tell(hive, ada.teamId, 100)
      await deliver(hive)
      hive.clock.advance(1000)
    }
    const range = { from: new Date(0).toISOString(), to: new Date(hive.clock.now()).toISOString() }
    const { next, ...first } = (await replay(hive, ada, id, range)).body
    assert.deepEqual(first, { replayed: 1000, remaining: true })
    assert.equal((await replay(hive, ada, id, range)).problem.code, 'webhook_busy')
    const place = { token: ada.token, params: { teamId: ada.teamId, webhookId: id } }
    assert.equal((await hive.call(contract.testWebhook, place)).problem.code, 'webhook_busy')
    await deliver(hive)
    assert.equal(receiver.received.length, 2100)
    const rest = { from: next ?? '', to: range.to }
    assert.deepEqual((await replay(hive, ada, id, rest)).body, { replayed: 100, remaining: false, next: null })
    await deliver(hive)
    assert.deepEqual(
      (await deliveriesOf(hive, ada, id)).map(({ attempts }) => attempts),
      Array(200).fill(2),
    )
  })
})
