import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { identitiesOn } from '../../test/harness/identities.ts'
import { createLiveRows, maxRemembered, rememberIfAbsent } from './live-rows.ts'

test('at the ceiling the oldest entry makes room, and what is there is not replaced', () => {
  const map = new Map<string, number>()
  for (let count = 0; count < maxRemembered + 5; count++) rememberIfAbsent(map, String(count), count)
  assert.deepEqual([map.size, map.has('4'), map.has('5')], [maxRemembered, false, true])
  rememberIfAbsent(map, '5', -1)
  assert.equal(map.get('5'), 5)
})

identitiesOn((open, { dialect }) => {
  /** Rows whose reading the test finishes by hand: answers what was true when it began. */
  async function openRows() {
    const { ctx } = await open()
    const reads: ((row: string | undefined) => void)[] = []
    const rows = createLiveRows(ctx, () => new Promise<string | undefined>((resolve) => void reads.push(resolve)))
    const finish = async (row: string | undefined) => {
      // By then what was asked for in this moment is being read.
      await nextTurn()
      reads.pop()?.(row)
    }
    return { rows, reads, finish, publish: () => ctx.bus.publish('identity') }
  }

  test('a row is read again after news, and where others write too, each time', async () => {
    const { rows, finish, publish } = await openRows()
    const first = rows('a')
    await finish('old')
    assert.equal(await first, 'old')
    if (dialect === 'sqlite') assert.equal(rows('a'), 'old')
    publish()
    const second = rows('a')
    await finish('new')
    assert.ok(second instanceof Promise)
    assert.equal(await second, 'new')
    assert.equal(rows('a') instanceof Promise, dialect === 'postgres')
  })

  test('a row that was being read when news came is not kept', async () => {
    const { rows, finish, publish } = await openRows()
    const reading = rows('a')
    publish()
    await finish('old')
    assert.equal(await reading, 'old')
    const next = rows('a')
    assert.ok(next instanceof Promise)
    await finish('new')
    assert.equal(await next, 'new')
  })

  test('what does not exist is not remembered: it may exist a moment later', async () => {
    const { rows, reads, finish } = await openRows()
    const reading = rows('a')
    await finish(undefined)
    assert.equal(await reading, undefined)
    assert.ok(rows('a') instanceof Promise)
    await nextTurn()
    assert.equal(reads.length, 1)
  })

  test('requests of one moment share a reading where nothing is kept, and one that comes after its begin does not', async () => {
    const { rows, reads, finish } = await openRows()
    if (dialect === 'sqlite') return
    const together = [rows('a'), rows('a')]
    await finish('old')
    assert.deepEqual(await Promise.all(together), ['old', 'old'])
    const before = rows('a')
    await nextTurn()
    assert.equal(reads.length, 1)
    const after = rows('a')
    await nextTurn()
    reads[0]?.('before')
    reads[1]?.('after')
    assert.deepEqual(await Promise.all([before, after]), ['before', 'after'])
  })
})
