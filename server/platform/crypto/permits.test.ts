import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPermits, Overloaded } from './permits.ts'

const limits = { permits: 2, maxQueued: 3, deadlineMs: 60_000 }

function isOverloaded(reason: string) {
  return (error: unknown) => error instanceof Overloaded && error.reason === reason
}

test('no more run at once than there are permits, in order of arrival', async () => {
  const permits = createPermits({ ...limits, maxQueued: 100 })
  const order: number[] = []
  let running = 0
  let most = 0
  const jobs = Array.from({ length: 50 }, (_, index) =>
    permits.run(async () => {
      most = Math.max(most, ++running)
      order.push(index)
      await new Promise(setImmediate)
      running--
    }),
  )
  await Promise.all(jobs)
  assert.equal(most, 2)
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  )
  assert.deepEqual(permits.load, { running: 0, waiting: 0 })
})

test('a full queue refuses at once', async () => {
  const permits = createPermits(limits)
  const gate = Promise.withResolvers<void>()
  const held = Array.from({ length: 5 }, () => permits.run(() => gate.promise))
  assert.deepEqual(permits.load, { running: 2, waiting: 3 })
  await assert.rejects(
    permits.run(async () => 'never'),
    isOverloaded('queue_full'),
  )
  gate.resolve()
  await Promise.all(held)
  assert.equal(await permits.run(async () => 'again'), 'again')
})

test('a deadline passed while waiting refuses, gives up the place and never runs the work', async () => {
  const permits = createPermits({ permits: 1, maxQueued: 1, deadlineMs: 20 })
  const gate = Promise.withResolvers<void>()
  const held = permits.run(() => gate.promise)
  let ran = false
  const late = permits.run(async () => {
    ran = true
  })
  await assert.rejects(late, (error) => error instanceof Overloaded && error.retryAfterSeconds === 1)
  assert.deepEqual(permits.load, { running: 1, waiting: 0 })
  gate.resolve()
  await held
  assert.equal(ran, false)
  assert.deepEqual(permits.load, { running: 0, waiting: 0 })
})

test('work that fails gives its permit back', async () => {
  const permits = createPermits({ ...limits, permits: 1 })
  const broken = () => Promise.reject(new Error('broken'))
  await assert.rejects(permits.run(broken), /broken/)
  await assert.rejects(permits.run(broken), /broken/)
  assert.deepEqual(permits.load, { running: 0, waiting: 0 })
  assert.throws(() => createPermits({ ...limits, permits: 0 }), RangeError)
})

test('what runs at once never exceeds the budget, and what is larger than all of it runs alone', async () => {
  const permits = createPermits({ permits: 10, maxQueued: 100, deadlineMs: 60_000, budget: 100 })
  let [spent, most] = [0, 0]
  const sizes = Array.from({ length: 50 }, (_, index) => (index % 7 === 0 ? 250 : 10 + (index % 5) * 15))
  const jobs = sizes.map((size) =>
    permits.run(
      async () => {
        assert.ok(size <= 100 || spent === 0)
        spent += size
        most = Math.max(most, spent <= 100 ? spent : 0)
        assert.ok(spent <= 100 || spent === size)
        await new Promise(setImmediate)
        spent -= size
      },
      { size },
    ),
  )
  await Promise.all(jobs)
  assert.ok(most > 50, 'several run at once')
  assert.deepEqual(permits.load, { running: 0, waiting: 0 })
})

test('something small does not overtake something large that waits, and goes on when that gives up', async () => {
  const permits = createPermits({ permits: 3, maxQueued: 10, deadlineMs: 20, budget: 10 })
  const gate = Promise.withResolvers<void>()
  const held = permits.run(() => gate.promise, { size: 5 })
  const order: string[] = []
  const large = permits.run(async () => void order.push('large'), { size: 8 })
  const small = permits.run(async () => void order.push('small'), { size: 1 })
  assert.deepEqual(permits.load, { running: 1, waiting: 2 })
  await assert.rejects(large, isOverloaded('deadline'))
  await small
  assert.deepEqual(order, ['small'])
  gate.resolve()
  await held
  assert.deepEqual(permits.load, { running: 0, waiting: 0 })
})

test('one source fills no more than its share of the queue, and others still find a place', async () => {
  const permits = createPermits({ permits: 1, maxQueued: 10, deadlineMs: 60_000, maxQueuedPerSource: 2 })
  const gate = Promise.withResolvers<void>()
  const flood = { source: 'flood' }
  const held = [1, 2, 3].map(() => permits.run(() => gate.promise, flood))
  await assert.rejects(
    permits.run(async () => 'never', flood),
    isOverloaded('queue_full'),
  )
  const other = permits.run(async () => 'served', { source: 'other' })
  gate.resolve()
  await Promise.all(held)
  assert.equal(await other, 'served')
  assert.equal(await permits.run(async () => 'again', flood), 'again')
})
