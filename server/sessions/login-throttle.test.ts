import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { hash } from '@node-rs/argon2'
import { sql } from 'kysely'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'

const wrong = 'not the right password'

describeHive('wrong passwords', (open) => {
  interface From {
    address?: string
    said?: string
    device?: { token?: string; name?: string }
  }
  async function attempt(hive: Hive, login: string, { address = '192.0.2.7', said = wrong, device }: From = {}) {
    const reply = await hive.inject({
      method: 'POST',
      url: sessions.logIn.path,
      remoteAddress: address,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify({ login, password: said, ...(device && { device }) }),
    })
    return { status: reply.statusCode, headers: reply.headers, body: reply.json() as Record<string, unknown> }
  }
  const many = (hive: Hive, count: number, login: string, from: From = {}) =>
    Promise.all(Array.from({ length: count }, () => attempt(hive, login, from)))
  const codes = (replies: { body: Record<string, unknown> }[]) => {
    const counts: Record<string, number> = {}
    for (const { body } of replies) counts[String(body.code)] = (counts[String(body.code)] ?? 0) + 1
    return counts
  }
  /** The hundred failures of a stranger, without the waits between them. */
  async function exhaust(hive: Hive, login: string, count = 100): Promise<void> {
    for (let i = 0; i < count; i++) {
      const { body } = await attempt(hive, login, { address: `198.51.100.${i}` })
      assert.equal(body.code, 'invalid_credentials')
    }
  }
  const mailed = async (hive: Hive) => (await hive.mails()).map(({ subject }) => subject)
  async function knownDevice(hive: Hive, login: string): Promise<{ token: string }> {
    const { body } = await attempt(hive, login, { said: password, device: { name: 'laptop' } })
    assert.equal(typeof body.deviceToken, 'string')
    return { token: String(body.deviceToken) }
  }

  test('of 50 at once five are checked, the others wait', async () => {
    await using hive = await open()
    await hive.person('ada')
    const replies = await many(hive, 50, 'ada')
    assert.deepEqual(codes(replies), { invalid_credentials: 5, login_throttled: 45 })
    for (const { status, headers } of replies) if (status === 429) assert.equal(headers['retry-after'], '1')
    // The right one waits, too: otherwise the wait would tell it.
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 429)
    hive.clock.advance(1000)
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 200)
    assert.deepEqual(codes(await many(hive, 4, 'ada')), { invalid_credentials: 4 })
  })

  test('whether there is such an account makes no difference: not to replies, waits or rows', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const passwordless = await hive.person('without')
    const closed = await hive.person('closed')
    const set = (id: string, change: object) =>
      hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', id).execute()
    await set(passwordless.userId, { passwordHash: null })
    await set(closed.userId, { deactivatedAt: 1 })
    const tables = ['loginThrottles', 'auditEvents', 'outbox', 'mailQueue', 'oneTimeTokens', 'knownDevices'] as const
    const countRows = async () => {
      const counts: number[] = []
      for (const table of tables)
        counts.push((await hive.ctx.db.kysely.selectFrom(table).select(sql`1`.as('one')).execute()).length)
      return counts
    }
    const shown = ({ status, headers, body }: Awaited<ReturnType<typeof attempt>>) => ({
      status,
      headers: { ...headers, 'x-request-id': '', date: '' },
      body: { ...body, requestId: '' },
    })
    async function story(login: string, address: string) {
      const seen: unknown[] = []
      const before = await countRows()
      for (let i = 0; i < 9; i++) {
        seen.push(shown(await attempt(hive, login, { address })))
        if (i === 6) hive.clock.advance(1000)
      }
      const after = await countRows()
      return { seen, rows: after.map((count, i) => count - (before[i] ?? 0)) }
    }
    const stories = [
      await story('ada', '203.0.113.1'),
      await story('nobody', '203.0.113.2'),
      await story('nobody@example.net', '203.0.113.3'),
      await story('without', '203.0.113.4'),
      await story('closed', '203.0.113.5'),
    ]
    for (const each of stories) assert.deepEqual(each, stories[0])
    assert.ok(ada.userId)
  })

  test('for an account are counted by source: another source is not made to wait', async () => {
    await using hive = await open()
    await hive.person('ada')
    await many(hive, 20, 'ada')
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 429)
    assert.equal((await attempt(hive, 'ada', { said: password, address: '192.0.2.8' })).status, 200)
  })

  test('from one network of IPv6 are of one source, and an IPv4 address written as IPv6 is itself', async () => {
    await using hive = await open()
    await hive.person('ada')
    for (let i = 0; i < 5; i++) await attempt(hive, 'ada', { address: `2001:db8:1:2::${i}` })
    assert.equal((await attempt(hive, 'ada', { address: '2001:db8:1:2:ffff:1:2:3' })).status, 429)
    assert.equal((await attempt(hive, 'ada', { address: '2001:db8:1:3::1' })).status, 401)
    for (let i = 0; i < 5; i++) await attempt(hive, 'ada')
    assert.equal((await attempt(hive, 'ada', { address: '::ffff:192.0.2.7' })).status, 429)
  })

  test('in other spellings of the login are the same ones', async () => {
    await using hive = await open()
    await hive.person('ada')
    for (const login of ['ada', 'ADA', 'Ada', 'aDA', 'adA']) await attempt(hive, login)
    assert.equal((await attempt(hive, 'ada')).status, 429)
    for (let i = 0; i < 5; i++) await attempt(hive, i % 2 === 0 ? 'ZO\u00cb@example.net' : 'zoe\u0308@example.net')
    assert.equal((await attempt(hive, 'zo\u00eb@example.net')).status, 429)
  })

  test('for a username make nobody wait who uses an email address: it would tell whose it is', async () => {
    await using hive = await open()
    await hive.person('ada')
    await many(hive, 6, 'ada')
    assert.equal((await attempt(hive, 'ada@example.net')).status, 401)
    assert.equal((await attempt(hive, 'someone@example.net')).status, 401)
  })

  test('over many accounts make their source wait', async () => {
    await using hive = await open()
    await hive.person('ada')
    for (let i = 0; i < 50; i++) assert.equal((await attempt(hive, `user-${i}`)).status, 401)
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 429)
    assert.equal((await attempt(hive, 'ada', { said: password, address: '192.0.2.8' })).status, 200)
  })

  test('of strangers do not keep a known device waiting, which has ten of its own', async () => {
    await using hive = await open()
    await hive.person('ada')
    const device = await knownDevice(hive, 'ada')
    await many(hive, 20, 'ada')
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 429)
    assert.equal((await attempt(hive, 'ada', { said: password, device })).status, 200)
    // Its own: then it is a stranger again, and waits with them.
    assert.deepEqual(codes(await many(hive, 50, 'ada', { device })), { invalid_credentials: 10, login_throttled: 40 })
    assert.equal((await attempt(hive, 'ada', { said: password, device })).status, 429)
  })

  test('from a device known to another person are a stranger’s', async () => {
    await using hive = await open()
    await hive.person('ada')
    await hive.person('eve')
    const device = await knownDevice(hive, 'eve')
    assert.deepEqual(codes(await many(hive, 50, 'ada', { device })), { invalid_credentials: 5, login_throttled: 45 })
  })

  test('a hundred in a row disable the password alone, and its owner is told once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const device = await knownDevice(hive, 'ada')
    await exhaust(hive, 'ada', 99)
    assert.equal((await attempt(hive, 'ada', { said: password, address: '192.0.2.9' })).status, 200)
    await exhaust(hive, 'ada')
    await exhaust(hive, 'ada', 3)
    // The right one answers as a wrong one, so that nobody can tell.
    const right = await attempt(hive, 'ada', { said: password, address: '192.0.2.10' })
    assert.deepEqual([right.status, right.body.code], [401, 'invalid_credentials'])
    // By email address, too: it is one password.
    assert.equal((await attempt(hive, 'ada@example.net', { said: password, address: '192.0.2.11' })).status, 401)
    const told = (await mailed(hive)).filter((subject) => subject.startsWith('Your password was disabled'))
    assert.equal(told.length, 1)
    assert.equal((await attempt(hive, 'ada', { said: password, device })).status, 200)
    assert.equal((await hive.call(sessions.listSessions, { token: ada.token })).status, 200)
  })

  test('beyond the hundredth none is checked, however many come at once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    // The hundredth has been counted, and nobody has written yet that the password is disabled.
    await hive.ctx.db.kysely.updateTable('users').set({ passwordFailures: 100 }).where('id', '=', ada.userId).execute()
    const rights = Array.from({ length: 25 }, (_, i) =>
      attempt(hive, 'ada', { said: password, address: `198.51.101.${i}` }),
    )
    for (const { status } of await Promise.all(rights)) assert.equal(status, 401)
    const told = (await mailed(hive)).filter((subject) => subject.startsWith('Your password was disabled'))
    assert.equal(told.length, 1)
  })

  test('a clock set back locks nobody out', async () => {
    await using hive = await open()
    await hive.person('ada')
    await many(hive, 6, 'ada')
    hive.clock.advance(-3600_000)
    assert.equal((await attempt(hive, 'ada', { said: password })).status, 200)
  })

  test('many right ones at once that all upgrade an old hash are all let in', async () => {
    await using hive = await open()
    const { userId } = await hive.person('ada')
    const passwordHash = await hash(password, { memoryCost: 16, timeCost: 1, parallelism: 1 })
    await hive.ctx.db.kysely.updateTable('users').set({ passwordHash }).where('id', '=', userId).execute()
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, i) => attempt(hive, 'ada', { said: password, address: `198.51.100.${i}` })),
    )
    assert.deepEqual(
      replies.filter(({ status }) => status !== 200).map(({ body }) => body),
      [],
    )
  })

  test('use up the logins of an address, and keep nobody there from refreshing', async () => {
    await using hive = await open({ config: { rateScale: 1 } })
    const queen = await hive.admin()
    assert.ok(
      (await many(hive, 20, 'queen', { address: '127.0.0.1' })).some(({ body }) => body.code === 'rate_limited'),
    )
    const body = { refreshToken: queen.refreshToken }
    assert.equal((await hive.call(sessions.refresh, { body })).status, 200)
  })
})
