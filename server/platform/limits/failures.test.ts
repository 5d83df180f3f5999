import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive, type Hive } from '../../../test/harness/hive.ts'
import { AppError } from '../errors.ts'
import { type FailureRule, forgiveAttempt, pruneFailures, reserveAttempt } from './failures.ts'

const rule: FailureRule = { key: 'login\nada\n192.0.2.7', free: 5 }
const source: FailureRule = { key: 'source\n192.0.2.7', free: 8 }
const dayMs = 24 * 60 * 60_000

describeHive('counting failures', (open) => {
  /** Seconds to wait; 0 when the attempt was let through. */
  async function attempt(hive: Hive, ...rules: FailureRule[]): Promise<number> {
    try {
      await reserveAttempt(hive.ctx, rules.length === 0 ? [rule] : rules)
      return 0
    } catch (error) {
      assert.ok(error instanceof AppError && error.code === 'login_throttled')
      return Number(error.options.headers?.['retry-after'])
    }
  }
  const forgive = (hive: Hive, rules: { forget?: FailureRule[]; uncount?: FailureRule[] }) =>
    hive.ctx.db.transaction((tx) => forgiveAttempt(hive.ctx, tx, { forget: [], uncount: [], ...rules }))

  test('the first are free, then each costs twice the wait of the one before, up to 15 minutes', async () => {
    await using hive = await open()
    for (let i = 0; i < 5; i++) assert.equal(await attempt(hive), 0)
    const waits: number[] = []
    for (let i = 0; i < 14; i++) {
      const seconds = await attempt(hive)
      waits.push(seconds)
      hive.clock.advance(seconds * 1000 - 1)
      assert.equal(await attempt(hive), 1)
      hive.clock.advance(1)
      assert.equal(await attempt(hive), 0)
    }
    assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900])
  })

  test('of 50 at once exactly the free ones are let through', async () => {
    await using hive = await open()
    const waits = await Promise.all(Array.from({ length: 50 }, () => attempt(hive)))
    assert.equal(waits.filter((seconds) => seconds === 0).length, 5)
    // What is refused is not counted: it makes nobody wait longer.
    hive.clock.advance(1000)
    assert.equal(await attempt(hive), 0)
    assert.equal(await attempt(hive), 2)
  })

  test('an attempt that one rule refuses counts for no other', async () => {
    await using hive = await open()
    for (let i = 0; i < 5; i++) await attempt(hive, rule, source)
    for (let i = 0; i < 20; i++) assert.notEqual(await attempt(hive, rule, source), 0)
    for (let i = 0; i < 3; i++) assert.equal(await attempt(hive, source), 0)
    assert.notEqual(await attempt(hive, source), 0)
  })

  test('success forgives all of one rule and one of the other', async () => {
    await using hive = await open()
    for (let i = 0; i < 5; i++) await attempt(hive, rule, source)
    await forgive(hive, { forget: [rule], uncount: [source] })
    for (let i = 0; i < 4; i++) assert.equal(await attempt(hive, rule, source), 0)
    assert.notEqual(await attempt(hive, source), 0)
    assert.equal(await attempt(hive, rule), 0)
  })

  test('failures are forgotten a day after the last, and removed', async () => {
    await using hive = await open()
    for (let i = 0; i < 5; i++) await attempt(hive)
    hive.clock.advance(dayMs + 1)
    for (let i = 0; i < 5; i++) assert.equal(await attempt(hive), 0)
    hive.clock.advance(dayMs)
    await pruneFailures(hive.ctx)
    assert.equal((await hive.ctx.db.kysely.selectFrom('loginThrottles').selectAll().execute()).length, 1)
    hive.clock.advance(1)
    await pruneFailures(hive.ctx)
    assert.equal((await hive.ctx.db.kysely.selectFrom('loginThrottles').selectAll().execute()).length, 0)
  })

  test('a clock set back locks nobody out', async () => {
    await using hive = await open()
    for (let i = 0; i < 8; i++) {
      await attempt(hive)
      hive.clock.advance(4000)
    }
    hive.clock.advance(-dayMs)
    assert.equal(await attempt(hive), 0)
    // And from there on the waits are as ever.
    assert.ok((await attempt(hive)) <= 900)
  })

  test('the table tells neither names nor addresses, not even to who guesses them', async () => {
    await using hive = await open()
    await attempt(hive, rule, source)
    const before = await hive.ctx.db.kysely.selectFrom('loginThrottles').select('key').execute()
    for (const { key } of before) assert.doesNotMatch(key, /ada|192/)
    await using other = await open()
    await attempt(other, rule, source)
    const keys = await other.ctx.db.kysely.selectFrom('loginThrottles').select('key').execute()
    assert.equal(new Set([...before, ...keys].map(({ key }) => key)).size, 4)
  })
})
