import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive } from '../../../test/harness/hive.ts'
import { type Quota, takeFromQuota } from './quota.ts'

describeHive('a quota', (open) => {
  const quota: Quota = { key: 'mail to somebody', most: 5, windowMs: 60_000 }

  test('answers true as often as it allows, of 50 calls at once, and anew when its window is over', async () => {
    await using hive = await open()
    const take = () => hive.ctx.db.transaction((tx) => takeFromQuota(hive.ctx, tx, quota))
    const round = async () => (await Promise.all(Array.from({ length: 50 }, take))).filter(Boolean).length
    assert.equal(await round(), 5)
    hive.clock.advance(59_999)
    assert.equal(await take(), false)
    hive.clock.advance(1)
    assert.equal(await round(), 5)
  })

  test('keeps keys apart, and keeps none of them in clear', async () => {
    await using hive = await open()
    const take = (key: string) =>
      hive.ctx.db.transaction((tx) => takeFromQuota(hive.ctx, tx, { ...quota, key, most: 1 }))
    assert.deepEqual([await take('a'), await take('a'), await take('b')], [true, false, true])
    const rows = await hive.ctx.db.kysely.selectFrom('loginThrottles').select('key').execute()
    assert.ok(rows.every(({ key }) => key !== 'a' && !key.includes('quota')))
  })

  test('is no lockout for a clock that is set back', async () => {
    await using hive = await open()
    const take = () => hive.ctx.db.transaction((tx) => takeFromQuota(hive.ctx, tx, { ...quota, most: 1 }))
    assert.equal(await take(), true)
    hive.clock.advance(-3_600_000)
    assert.equal(await take(), true)
    assert.equal(await take(), false)
  })

  test('is taken back with the transaction it was taken in', async () => {
    await using hive = await open()
    const { db } = hive.ctx
    const failed = db.transaction(async (tx) => {
      await takeFromQuota(hive.ctx, tx, { ...quota, most: 1 })
      throw new Error('nothing was sent')
    })
    await assert.rejects(failed, /nothing was sent/)
    assert.equal(await db.transaction((tx) => takeFromQuota(hive.ctx, tx, { ...quota, most: 1 })), true)
  })
})
