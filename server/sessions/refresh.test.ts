import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type Identities, identitiesOn, type Person, type Reply } from '../../test/harness/identities.ts'

const dayMs = 24 * 60 * 60 * 1000

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let count = 0
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  const someone = () => hive.person(`person-${++count}`)
  const me = (token: string) => hive.call('GET', '/api/v1/auth/me', { token })
  const refreshAt = (server: Identities, refreshToken: string) =>
    server.call('POST', '/api/v1/auth/refresh', { body: { refreshToken } })
  const refresh = (refreshToken: string) => refreshAt(hive, refreshToken)
  const tokenOf = (reply: Reply) => String(reply.body.refreshToken)
  const eventsOf = async (action: string, person: Person) =>
    (await hive.audited(action)).filter((event) => event.targetId === person.sessionId)

  async function assertAlive(refreshToken: string): Promise<void> {
    const reply = await refresh(refreshToken)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    assert.equal((await me(String(reply.body.accessToken))).status, 200)
  }

  function assertRefused(reply: Reply): void {
    assert.deepEqual([reply.status, reply.body.code], [401, 'invalid_refresh_token'])
  }

  test('gives new tokens of the same session, and the one presented is replaced', async () => {
    const person = await someone()
    hive.advance(60_000)
    const reply = await refresh(person.refreshToken)
    assert.equal(reply.status, 200)
    assert.notEqual(tokenOf(reply), person.refreshToken)
    assert.equal((reply.body.session as { id: string }).id, person.sessionId)
    assert.ok(!('user' in reply.body))
    await assertAlive(tokenOf(reply))
  })

  test('fifty refreshes of one token at once give one and the same successor and log nobody out', async () => {
    const person = await someone()
    const replies = await Promise.all(Array.from({ length: 50 }, () => refresh(person.refreshToken)))
    assert.deepEqual(new Set(replies.map((reply) => reply.status)), new Set([200]))
    assert.equal(new Set(replies.map(tokenOf)).size, 1)
    for (const reply of replies) assert.equal((await me(String(reply.body.accessToken))).status, 200)
    assert.deepEqual(await eventsOf('session.refresh_reused', person), [])
    await assertAlive(tokenOf(replies[0] as Reply))
  })

  test('the token just replaced gives the identical successor for ten seconds', async () => {
    const person = await someone()
    const first = await refresh(person.refreshToken)
    hive.advance(10_000)
    const second = await refresh(person.refreshToken)
    assert.equal(second.status, 200)
    assert.equal(tokenOf(second), tokenOf(first))
    await assertAlive(tokenOf(first))
  })

  test('used again after ten seconds it ends the session, which is remembered though the request fails', async () => {
    const person = await someone()
    const next = await refresh(person.refreshToken)
    assert.equal((await me(String(next.body.accessToken))).status, 200)
    hive.advance(10_001)
    assertRefused(await refresh(person.refreshToken))
    assert.equal((await me(String(next.body.accessToken))).body.code, 'session_revoked')
    assertRefused(await refresh(tokenOf(next)))
    const [event] = await eventsOf('session.refresh_reused', person)
    assert.equal(event?.outcome, 'refused')
    const alerts = await hive.ctx.db.kysely.selectFrom('outbox').selectAll().execute()
    assert.ok(
      alerts.some((alert) => alert.topic === 'session.refresh_reused' && alert.payload.includes(person.sessionId)),
    )
    assert.match((await hive.mailTo(`${person.username}@hive.test`)).subject, /session of your account was ended/)
  })

  test('an older token ends the session even within ten seconds', async () => {
    const person = await someone()
    const second = await refresh(person.refreshToken)
    const third = await refresh(tokenOf(second))
    assertRefused(await refresh(person.refreshToken))
    assertRefused(await refresh(tokenOf(third)))
    assert.equal((await eventsOf('session.refresh_reused', person)).length, 1)
  })

  test('a clock that stepped back does not hold the ten seconds open', async () => {
    const person = await someone()
    await refresh(person.refreshToken)
    hive.advance(-60_000)
    try {
      assertRefused(await refresh(person.refreshToken))
      assert.equal((await eventsOf('session.refresh_reused', person)).length, 1)
    } finally {
      hive.advance(60_000)
    }
  })

  test('a made-up token is refused and harms nobody', async () => {
    const [person, other] = [await someone(), await someone()]
    const text = person.refreshToken
    const made = [
      '',
      'hsr_',
      text.slice(0, -1),
      `${text}A`,
      text.replace(/\.0\./, '.1.'),
      text.replace(/^hsr_[^.]*/, `hsr_${other.sessionId}`),
      text.replace(/\.[A-Za-z0-9_-]{43}\.v1/, `.${'A'.repeat(43)}.v1`),
      text.replace(/[A-Za-z0-9_-]{43}$/, 'A'.repeat(43)),
      text.replace(/^hsr_[^.]*/, 'hsr_019b76da-a800-75c9-8091-000000000000'),
      person.token,
    ]
    for (const token of made.slice(1)) assertRefused(await refresh(token.slice(0, 500)))
    assert.equal((await refresh('')).body.code, 'invalid_request')
    await assertAlive(text)
    await assertAlive(other.refreshToken)
  })

  test('is stored as a hash alone, and the successor nowhere', async () => {
    const person = await someone()
    const next = await refresh(person.refreshToken)
    const query = hive.ctx.db.kysely.selectFrom('sessions').selectAll().where('id', '=', person.sessionId)
    const stored = JSON.stringify(await query.execute())
    for (const token of [person.refreshToken, tokenOf(next)])
      for (const part of token.split('.').filter((part) => part.length > 20 && !part.startsWith('hsr_')))
        assert.ok(!stored.includes(part))
  })

  test('a refresh prolongs the seven idle days, never the thirty in all', async () => {
    const person = await someone()
    let token = person.refreshToken
    for (const _ of [6, 12, 18, 24]) {
      hive.advance(6 * dayMs)
      const reply = await refresh(token)
      assert.equal(reply.status, 200)
      assert.equal((await me(String(reply.body.accessToken))).status, 200)
      token = tokenOf(reply)
    }
    hive.advance(6 * dayMs)
    assertRefused(await refresh(token))
    const idle = await someone()
    hive.advance(7 * dayMs)
    assertRefused(await refresh(idle.refreshToken))
    assert.equal((await eventsOf('session.refresh_refused', idle)).length, 1)
  })

  test('an access token never outlives its session', async () => {
    const person = await someone()
    const endsAt = hive.ctx.clock.now() + 30 * dayMs
    let token = person.refreshToken
    for (const _ of [1, 2, 3, 4, 5]) {
      hive.advance(6 * dayMs - 12_000)
      token = tokenOf(await refresh(token))
    }
    const reply = await refresh(token)
    assert.equal(reply.body.expiresIn, Math.floor((endsAt - hive.ctx.clock.now()) / 1000))
    assert.equal(reply.body.expiresIn, 60)
  })

  test('whatever a refresh and a revocation do at once, the session is dead afterwards', async () => {
    for (let round = 0; round < 10; round++) {
      const person = await someone()
      const [refreshed, , ended] = await Promise.all([
        refresh(person.refreshToken),
        refresh(person.refreshToken),
        hive.call('DELETE', `/api/v1/auth/sessions/${person.sessionId}`, { token: person.token }),
      ])
      assert.equal(ended.status, 204)
      assertRefused(await refresh(person.refreshToken))
      if (refreshed.status !== 200) continue
      assert.equal((await me(String(refreshed.body.accessToken))).body.code, 'session_revoked')
      assertRefused(await refresh(tokenOf(refreshed)))
    }
  })

  test('a secret added in front keeps the sessions, and a successor that cannot be made again harms nobody', async () => {
    const first = await open()
    const ada = await first.setUp()
    const next = await refreshAt(first, ada.refreshToken)
    await first.close()
    const { generateSecret } = await import('../platform/crypto/secret-strength.ts')
    const second = await again(first, { secrets: [generateSecret(), ...first.ctx.config.secrets] })
    assertRefused(await refreshAt(second, ada.refreshToken))
    assert.equal((await refreshAt(second, tokenOf(next))).status, 200)
  })

  test('refreshes of one token at two replicas give one successor', { skip: dialect === 'sqlite' }, async () => {
    const replica = await again(hive)
    replica.advance(hive.ctx.clock.now() - replica.ctx.clock.now())
    const person = await someone()
    const replies = await Promise.all(
      Array.from({ length: 12 }, (_, index) => refreshAt(index % 2 === 0 ? hive : replica, person.refreshToken)),
    )
    assert.deepEqual(new Set(replies.map((reply) => reply.status)), new Set([200]))
    assert.equal(new Set(replies.map(tokenOf)).size, 1)
    await assertAlive(tokenOf(replies[0] as Reply))
  })
})
