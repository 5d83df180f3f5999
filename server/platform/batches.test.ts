import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBatches } from './batches.ts'

test('what arrives at once or while a batch is under way travels together, at most so many', async () => {
  const runs: number[][] = []
  const batches = createBatches<number, number>(async (items) => {
    runs.push([...items])
    // The next come while this one is under way.
    if (runs.length === 1) later = [4, 5, 6, 7, 8].map((item) => batches.add(item))
    await Promise.resolve()
    return items.map((item) => item * 10)
  }, 3)
  let later: Promise<number>[] = []
  assert.deepEqual(await Promise.all([1, 2].map((item) => batches.add(item))), [10, 20])
  assert.deepEqual(await Promise.all(later), [40, 50, 60, 70, 80])
  assert.deepEqual(runs, [
    [1, 2],
    [4, 5, 6],
    [7, 8],
  ])
})

test('an item that is refused, or that fails its batch, fails alone', async () => {
  const runs: string[][] = []
  const batches = createBatches<string, string>(async (items) => {
    runs.push([...items])
    if (items.includes('breaks')) throw new Error('broken')
    return items.map((item) => (item === 'refused' ? new Error('no') : item))
  }, 10)
  const outcomes = await Promise.allSettled(['a', 'refused', 'breaks', 'b'].map((item) => batches.add(item)))
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message)),
    ['a', 'no', 'broken', 'b'],
  )
  assert.deepEqual(
    runs.map(({ length }) => length),
    [4, 1, 1, 1, 1],
  )
})

test('a batch that forgets an item fails it', async () => {
  const batches = createBatches<number, number>(async () => [1], 10)
  const outcomes = await Promise.allSettled([batches.add(1), batches.add(2)])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
})

test('a batch that waits for somebody does not keep those that come later waiting', async () => {
  const stuck = Promise.withResolvers<void>()
  const batches = createBatches<string, string>(async (items) => {
    if (items.includes('stuck')) await stuck.promise
    return items
  }, 10)
  const first = batches.add('stuck')
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(await Promise.all(['a', 'b'].map((item) => batches.add(item))), ['a', 'b'])
  stuck.resolve()
  assert.equal(await first, 'stuck')
  assert.equal(await batches.add('after'), 'after')
})
