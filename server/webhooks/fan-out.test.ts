import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive } from '../../test/harness/hive.ts'
import { consumeOutbox, type OutboxConsumer } from '../outbox/outbox.ts'
import { localEgress, tell } from './test-webhooks.ts'
import { toWebhooks } from './webhooks.ts'

describeHive('the fan-out', (open) => {
  test('of many events to many endpoints is many transactions, none of which keeps others waiting for long', async () => {
    await using hive = await open(localEgress)
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const { ctx } = hive
    const now = hive.clock.now()
    const endpoints = Array.from({ length: 40 }, () => ({
      ...{ id: ctx.random.id(), teamId: ada.teamId, url: 'https://8.8.8.8/', description: null, createdBy: null },
      ...{ events: '["*"]', createdAt: now, updatedAt: now },
    }))
    await ctx.db.kysely.insertInto('webhooks').values(endpoints).execute()
    await tell(hive, bob.teamId, 70)
    await tell(hive, ada.teamId, 120)
    const sizes: number[] = []
    const counted: OutboxConsumer = {
      countFitting: toWebhooks.countFitting,
      consume(...given) {
        sizes.push(given[2].length)
        return toWebhooks.consume(...given)
      },
    }
    assert.equal(await consumeOutbox(ctx, [counted]), 190)
    // 2,000 deliveries each; nobody listens to the first seventy.
    assert.deepEqual(sizes, [120, 50, 20])
    const rows = await ctx.db.kysely.selectFrom('webhookDeliveries').select(['webhookId', 'eventId']).execute()
    assert.equal(new Set(rows.map(({ webhookId, eventId }) => `${webhookId} ${eventId}`)).size, 120 * 40)
    assert.deepEqual([rows.length, new Set(rows.map(({ eventId }) => eventId)).size], [120 * 40, 120])
    assert.deepEqual(await ctx.db.kysely.selectFrom('outbox').select('seq').execute(), [])
  })

  test('of one event is one transaction, however many listen', async () => {
    await using hive = await open(localEgress)
    const ada = await hive.person('ada')
    const { ctx } = hive
    await tell(hive, ada.teamId, 3)
    const sizes: number[] = []
    const narrow: OutboxConsumer = {
      countFitting: async () => 0,
      consume: async (_ctx, _tx, events) => void sizes.push(events.length),
    }
    assert.equal(await consumeOutbox(ctx, [narrow]), 3)
    assert.deepEqual(sizes, [1, 1, 1])
  })
})
