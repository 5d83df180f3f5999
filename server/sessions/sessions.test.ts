import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { Session } from '@hivesync/contracts/sessions.ts'
import { type Identities, identitiesOn, type Person, password, type Reply } from '../../test/harness/identities.ts'

const loginPath = '/api/v1/auth/login'
const sessionsPath = '/api/v1/auth/sessions'

identitiesOn((open) => {
  let hive: Identities
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  const me = (token: string) => hive.call('GET', '/api/v1/auth/me', { token })
  const refresh = (refreshToken: string) => hive.call('POST', '/api/v1/auth/refresh', { body: { refreshToken } })
  const logIn = (login: string, secret = password, headers = {}) =>
    hive.call('POST', loginPath, { body: { login, password: secret }, headers })
  const sessionsOf = async (person: { token: string }) =>
    (await hive.call('GET', sessionsPath, { token: person.token })).body.items as Session[]
  const setUser = async (userId: string, change: object) => {
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', userId).execute()
    hive.ctx.bus.publish('identity')
  }

  /** A second session of the same person. */
  async function anotherSession(person: Person): Promise<Person> {
    const login = await hive.logIn(person.username)
    return { ...person, token: login.accessToken, refreshToken: login.refreshToken, sessionId: login.session.id }
  }

  async function assertEnded(person: Person): Promise<void> {
    assert.equal((await me(person.token)).body.code, 'session_revoked')
    assert.equal((await refresh(person.refreshToken)).body.code, 'invalid_refresh_token')
  }

  describe('login', () => {
    test('opens a session by username or by email address, in whatever case', async () => {
      await hive.person('Wilma')
      for (const login of ['Wilma', 'wILMA', 'Wilma@hive.test', 'WILMA@HIVE.TEST']) {
        const reply = await logIn(login)
        assert.equal(reply.status, 200, login)
        assert.equal((await me(String(reply.body.accessToken))).status, 200)
      }
    })

    test('answers with the tokens, the session and the person', async () => {
      await hive.person('xaver')
      const reply = await hive.call('POST', loginPath, {
        body: { login: 'xaver', password, device: { name: 'Xaver’s laptop' } },
        headers: { 'user-agent': `Agent\u0007\u0085 ${'x'.repeat(300)}` },
      })
      const { tokenType, expiresIn } = reply.body
      assert.deepEqual([tokenType, expiresIn], ['Bearer', 900])
      const user = reply.body.user as { id: string; username: string }
      assert.equal(user.username, 'xaver')
      const session = reply.body.session as Session
      assert.deepEqual([session.deviceName, session.ip, session.current], ['Xaver’s laptop', '127.0.0.0/24', true])
      assert.equal(session.userAgent, `Agent ${'x'.repeat(194)}`)
      const [started] = (await hive.audited('session.started')).filter((event) => event.targetId === session.id)
      assert.deepEqual([started?.actorKind, started?.actorId], ['user', user.id])
    })

    test('answers alike whether the account is unknown, deactivated, without a password, or the password is wrong', async () => {
      const [gone, keyless] = [await hive.person('yannick'), await hive.person('yvonne')]
      await hive.person('yasmin')
      await setUser(gone.userId, { deactivatedAt: hive.ctx.clock.now() })
      await setUser(keyless.userId, { passwordHash: null })
      const replies = [
        await logIn('nobody-at-all'),
        await logIn('nobody@hive.test'),
        await logIn('yannick'),
        await logIn('yvonne'),
        await logIn('yasmin', 'wrong horse battery staple'),
        await logIn('yasmin', 'short'),
        await logIn('yasmin', `${password} `),
      ]
      const shape = ({ status, body, headers }: Reply) => {
        const { requestId: _, ...problem } = body
        const {
          'x-request-id': __,
          date: ___,
          'x-ratelimit-remaining': ____,
          ratelimit: ______,
          'content-length': _____,
          ...rest
        } = headers
        return { status, problem, rest }
      }
      const [first] = replies
      assert.ok(first)
      assert.deepEqual([first.status, first.body.code], [401, 'invalid_credentials'])
      for (const reply of replies) assert.deepEqual(shape(reply), shape(first))
    })

    test('remembers each refusal, and never what was typed', async () => {
      const zoe = await hive.person('zoe')
      const before = (await hive.audited('session.refused')).length
      await logIn('typed-my-password-here')
      await logIn('zoe', 'wrong horse battery staple')
      const events = (await hive.audited('session.refused')).slice(before)
      assert.deepEqual(
        events.map((event) => [event.outcome, event.targetId, event.details]),
        [
          ['refused', null, '{}'],
          ['refused', zoe.userId, '{}'],
        ],
      )
      assert.ok(!hive.logLines.join('').includes('typed-my-password-here'))
    })

    test('accepts a password composed differently, and no other change of it', async () => {
      const secret = 'caf\u00e9 au lait pour tous'
      const body = { email: 'cafe@hive.test', username: 'barista', password: secret }
      assert.equal((await hive.call('POST', '/api/v1/auth/register', { body })).status, 201)
      assert.equal((await logIn('barista', 'cafe\u0301 au lait pour tous')).status, 200)
      for (const wrong of [` ${secret}`, secret.toUpperCase(), secret.slice(0, -1)])
        assert.equal((await logIn('barista', wrong)).status, 401)
    })

    test('replaces a hash of weaker parameters, and a damaged one matches nothing', async () => {
      const old = await hive.person('olduser')
      const weak = '$argon2id$v=19$m=8,t=1,p=1$'
      const { hash } = await import('@node-rs/argon2')
      const passwordHash = await hash(password, { memoryCost: 8, timeCost: 1, parallelism: 1 })
      assert.ok(passwordHash.startsWith(weak))
      await setUser(old.userId, { passwordHash })
      assert.equal((await logIn('olduser')).status, 200)
      const row = await hive.ctx.db.kysely
        .selectFrom('users')
        .select('passwordHash')
        .where('id', '=', old.userId)
        .executeTakeFirstOrThrow()
      assert.match(row.passwordHash ?? '', /m=19456,t=2,p=1/)
      assert.equal((await logIn('olduser')).status, 200)
      await setUser(old.userId, {
        passwordHash: '$argon2id$v=19$m=2097152,t=1,p=1$c29tZXNhbHQxMg$aGFzaGhhc2hoYXNoaGFzaGhhc2g',
      })
      assert.equal((await logIn('olduser')).body.code, 'invalid_credentials')
      assert.ok(hive.logLines.some((line) => line.includes('stored_hash_refused')))
    })
  })

  describe('the end of a session', () => {
    test('logout is effective on the next request of its tokens, and of no other session', async () => {
      const here = await hive.person('anton')
      const there = await anotherSession(here)
      assert.equal((await me(here.token)).status, 200)
      assert.equal((await hive.call('POST', '/api/v1/auth/logout', { token: here.token })).status, 204)
      await assertEnded(here)
      assert.equal((await me(there.token)).status, 200)
    })

    test('a revoked session is refused though its token was just accepted', async () => {
      const here = await hive.person('berta')
      const there = await anotherSession(here)
      assert.equal((await me(there.token)).status, 200)
      const reply = await hive.call('DELETE', `${sessionsPath}/${there.sessionId}`, { token: here.token })
      assert.equal(reply.status, 204)
      await assertEnded(there)
      const again = await hive.call('DELETE', `${sessionsPath}/${there.sessionId}`, { token: here.token })
      assert.equal(again.body.code, 'session_not_found')
    })

    test('all others end at once, the current one stays', async () => {
      const here = await hive.person('caesar')
      const others = [await anotherSession(here), await anotherSession(here)]
      assert.equal((await hive.call('DELETE', sessionsPath, { token: here.token })).status, 204)
      for (const other of others) await assertEnded(other)
      assert.deepEqual(
        (await sessionsOf(here)).map((session) => session.id),
        [here.sessionId],
      )
    })

    test('another person’s session does not exist', async () => {
      const [dora, mallory] = [await hive.person('dora'), await hive.person('mallory')]
      const reply = await hive.call('DELETE', `${sessionsPath}/${dora.sessionId}`, { token: mallory.token })
      assert.deepEqual([reply.status, reply.body.code], [404, 'session_not_found'])
      assert.equal((await me(dora.token)).status, 200)
    })

    test('a deactivated person is refused on the next request and at refresh', async () => {
      const emil = await hive.person('emil')
      assert.equal((await me(emil.token)).status, 200)
      await setUser(emil.userId, { deactivatedAt: hive.ctx.clock.now() })
      await assertEnded(emil)
    })

    test('a raised token version makes the tokens given out before worthless', async () => {
      const fritz = await hive.person('fritz')
      assert.equal((await me(fritz.token)).status, 200)
      await setUser(fritz.userId, { tokenVersion: 1 })
      assert.equal((await me(fritz.token)).body.code, 'session_revoked')
      const next = await refresh(fritz.refreshToken)
      assert.equal((await me(String(next.body.accessToken))).status, 200)
    })

    test('rights come from the row at each request, not from the token', async () => {
      const gustav = await hive.person('gustav')
      assert.equal((await me(gustav.token)).body.isAdmin, false)
      await setUser(gustav.userId, { adminSince: hive.ctx.clock.now() })
      assert.equal((await me(gustav.token)).body.isAdmin, true)
      const adminKey = { name: 'a', scopes: ['admin'] }
      const make = () => hive.call('POST', '/api/v1/api-keys', { token: gustav.token, body: adminKey })
      assert.equal((await make()).status, 201)
      await setUser(gustav.userId, { adminSince: null })
      assert.equal((await make()).body.code, 'permission_denied')
    })
  })

  describe('the list of sessions', () => {
    test('shows the live ones of the person, newest first, in pages', async () => {
      const hans = await hive.person('hans')
      const second = await anotherSession(hans)
      const third = await anotherSession(hans)
      await hive.call('DELETE', `${sessionsPath}/${second.sessionId}`, { token: hans.token })
      const shown = await sessionsOf(hans)
      assert.deepEqual(
        shown.map((session) => [session.id, session.current]),
        [
          [third.sessionId, false],
          [hans.sessionId, true],
        ],
      )
      const first = await hive.call('GET', `${sessionsPath}?limit=1`, { token: hans.token })
      assert.equal(first.body.nextCursor, third.sessionId)
      const last = await hive.call('GET', `${sessionsPath}?limit=1&cursor=${third.sessionId}`, { token: hans.token })
      assert.deepEqual([(last.body.items as Session[])[0]?.id, last.body.nextCursor], [hans.sessionId, null])
    })

    test('notes a use at most once a minute', async () => {
      const ida = await hive.person('ida')
      const lastSeen = async () => {
        await hive.settled()
        const query = hive.ctx.db.kysely.selectFrom('sessions').select('lastSeenAt').where('id', '=', ida.sessionId)
        return (await query.executeTakeFirstOrThrow()).lastSeenAt
      }
      const startedAt = await lastSeen()
      hive.advance(59_000)
      await me(ida.token)
      assert.equal(await lastSeen(), startedAt)
      hive.advance(2_000)
      await Promise.all([me(ida.token), me(ida.token), me(ida.token)])
      assert.equal(await lastSeen(), startedAt + 61_000)
      assert.ok(!hive.logLines.some((line) => line.includes('use_mark_failed')))
    })
  })
})
