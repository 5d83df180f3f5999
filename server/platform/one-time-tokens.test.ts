import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import {
  endOneTimeToken,
  findOneTimeToken,
  issueOneTimeToken,
  pruneOneTimeTokens,
  revokeOneTimeTokens,
  spendOneTimeToken,
  tryOneTimeToken,
} from './one-time-tokens.ts'

describeHive('a one-time token', (open) => {
  const issue = (hive: Hive, more: { userId?: string; sessionId?: string; attempts?: number; purpose?: string } = {}) =>
    hive.ctx.db.transaction((tx) =>
      issueOneTimeToken(hive.ctx, tx, { purpose: 'test', ttlMs: 60_000, data: { a: 1 }, ...more }),
    )
  const spend = (hive: Hive, token: string, purpose = 'test') =>
    hive.ctx.db.transaction((tx) => spendOneTimeToken(hive.ctx, tx, purpose, token))
  const tries = (hive: Hive, token: string, purpose = 'test') =>
    hive.ctx.db.transaction((tx) => tryOneTimeToken(hive.ctx, tx, purpose, token))
  const find = (hive: Hive, token: string, purpose = 'test') =>
    findOneTimeToken(hive.ctx, hive.ctx.db.kysely, purpose, token)

  test('is spent by exactly one of 50 at once', async () => {
    await using hive = await open()
    const token = await issue(hive)
    assert.deepEqual((await find(hive, token))?.data, { a: 1 })
    const spent = await Promise.all(Array.from({ length: 50 }, () => spend(hive, token)))
    assert.equal(spent.filter((each) => each !== undefined).length, 1)
    assert.equal(await find(hive, token), undefined)
  })

  test('allows exactly its attempts, of 50 at once, and one end', async () => {
    await using hive = await open()
    const token = await issue(hive, { attempts: 5 })
    const tried = await Promise.all(Array.from({ length: 50 }, () => tries(hive, token)))
    const allowed = tried.flatMap((each) => each ?? [])
    assert.equal(allowed.length, 5)
    const ended = await Promise.all(allowed.map((each) => hive.ctx.db.transaction((tx) => endOneTimeToken(tx, each))))
    assert.equal(ended.filter(Boolean).length, 1)
  })

  test('is worthless for another purpose, and stays good for its own', async () => {
    await using hive = await open()
    const token = await issue(hive)
    for (const reach of [find, spend, tries]) assert.equal(await reach(hive, token, 'other'), undefined)
    assert.ok(await spend(hive, token))
  })

  test('is worthless from the millisecond it expires, and is then removed', async () => {
    await using hive = await open()
    const token = await issue(hive)
    hive.clock.advance(59_999)
    assert.ok(await find(hive, token))
    hive.clock.advance(1)
    for (const reach of [find, spend, tries]) assert.equal(await reach(hive, token), undefined)
    assert.equal(await pruneOneTimeTokens(hive.ctx), 1)
  })

  test('is stored as its hash alone, and nothing else opens it', async () => {
    await using hive = await open()
    const token = await issue(hive)
    assert.match(token, /^hso_[A-Za-z0-9_-]{43}$/)
    const rows = await hive.ctx.db.kysely.selectFrom('oneTimeTokens').selectAll().execute()
    assert.ok(!JSON.stringify(rows).includes(token.slice(4)))
    const hash = rows[0]?.tokenHash ?? ''
    for (const wrong of [
      '',
      hash,
      `hso_${hash.slice(0, 43)}`,
      `${token}x`,
      token.toLowerCase(),
      ` ${token}`,
      `${token}\n`,
    ])
      assert.equal(await spend(hive, wrong), undefined, wrong)
  })

  test('dies with its person’s other pending things, by purpose or all', async () => {
    await using hive = await open()
    const { userId } = await hive.person('ada')
    const eve = await hive.person('eve')
    const [mine, second, theirs] = [
      await issue(hive, { userId }),
      await issue(hive, { userId, purpose: 'second' }),
      await issue(hive, { userId: eve.userId }),
    ]
    await hive.ctx.db.transaction((tx) => revokeOneTimeTokens(tx, userId, ['test']))
    assert.equal(await find(hive, mine), undefined)
    assert.ok(await find(hive, second, 'second'))
    await hive.ctx.db.transaction((tx) => revokeOneTimeTokens(tx, userId))
    assert.equal(await find(hive, second, 'second'), undefined)
    assert.ok(await find(hive, theirs))
  })
})
