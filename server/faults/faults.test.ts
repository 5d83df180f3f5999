import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/oversight.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import type { Context } from '../platform/context.ts'
import { keepFaults, listFaults, pruneFaults, watchFaults } from './faults.ts'

const watched = (hive: Hive): Context => ({ ...hive.ctx, log: watchFaults(hive.ctx.log) })
const boom = (message: string): Error => new TypeError(message)

describeHive('a fault', (open) => {
  test('is counted with those alike, whatever their messages say, and still in the log', async () => {
    await using hive = await open()
    const ctx = watched(hive)
    for (let i = 0; i < 3; i++)
      ctx.log.error({ event: 'task_failed', requestId: `request-${i}` }, boom(`job ${i} is gone`))
    ctx.log.error({ event: 'other' })
    await keepFaults(ctx)
    hive.clock.advance(1000)
    ctx.log.error({ event: 'other' })
    const [other, failed, ...more] = await listFaults(ctx)
    assert.equal(more.length, 0)
    assert.deepEqual([other?.event, other?.count], ['other', 2])
    assert.deepEqual(
      [failed?.event, failed?.count, failed?.errorName, failed?.message, failed?.lastRequestId],
      ['task_failed', 3, 'TypeError', 'job 2 is gone', 'request-2'],
    )
    assert.equal(hive.logged.filter((line) => line.includes('"task_failed"')).length, 3)
  })

  test('shows no credential, address or mail address, as the log does not', async () => {
    await using hive = await open()
    const ctx = watched(hive)
    ctx.log.error(
      { event: 'e' },
      new Error(`postgres://hive:hunter22@db.example.net and ada@example.net and ${'k'.repeat(50)}`),
    )
    const text = JSON.stringify(await listFaults(ctx))
    assert.doesNotMatch(text, /hunter22|ada@example|k{40}/)
  })

  test('that cannot be written now is written later, with all that came meanwhile', async () => {
    await using hive = await open()
    const ctx = watched(hive)
    const transaction = (): Promise<never> => {
      ctx.log.error({ event: 'e' })
      return Promise.reject(new Error('no database'))
    }
    const broken = { ...ctx, db: { ...ctx.db, transaction } }
    ctx.log.error({ event: 'e' })
    await assert.rejects(keepFaults(broken), /no database/)
    ctx.log.error({ event: 'e' })
    assert.deepEqual(
      (await listFaults(ctx)).map(({ count }) => count),
      [3],
    )
  })

  test('is forgotten when it has not come again for thirty days', async () => {
    await using hive = await open()
    const ctx = watched(hive)
    ctx.log.error({ event: 'e' })
    await keepFaults(ctx)
    hive.clock.advance(30 * 24 * 3_600_000)
    await pruneFaults(ctx)
    assert.equal((await listFaults(ctx)).length, 1)
    hive.clock.advance(1)
    await pruneFaults(ctx)
    assert.deepEqual(await listFaults(ctx), [])
  })

  test('of one moment are bounded in number', async () => {
    await using hive = await open()
    const ctx = watched(hive)
    for (let i = 0; i < 1000; i++) ctx.log.error({ event: `event-${i}` })
    assert.equal((await listFaults(ctx)).length, 200)
  })

  test('is for admins alone to see', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    assert.equal((await hive.call(contract.listFaults, { token: ada.token })).status, 403)
  })
})
