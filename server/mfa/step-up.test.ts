import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { nobody } from '../platform/actor.ts'
import { spendStepUp } from './step-up.ts'

// What a proof is bound to is in test/access/step-up.test.ts, for every operation.
describeHive('a step-up', (open) => {
  const act = { operation: 'startPasskey' }
  const byPassword = (hive: Hive, { token }: Person, said = password) =>
    hive.call(contract.stepUp, { token, body: { ...act, method: 'password', password: said } })
  const byCode = (hive: Hive, { token }: Person, code: string, method: 'totp' | 'recovery' = 'totp') =>
    hive.call(contract.stepUp, { token, body: { ...act, method, code } })
  const use = (hive: Hive, { token }: Person, proof: string) =>
    hive.call(contract.startPasskey, { token, headers: { 'step-up': proof } })

  test('is spent by exactly one of 50 requests at once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { stepUpToken } = (await byPassword(hive, ada)).body
    const replies = await Promise.all(Array.from({ length: 50 }, () => use(hive, ada, stepUpToken)))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    assert.equal(replies.filter(({ problem }) => problem.code === 'step_up_required').length, 49)
  })

  test('with a second factor is proved by that alone; the password, which may be stolen, is no way', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const options = () => hive.call(contract.startStepUp, { token: ada.token, body: act })
    assert.deepEqual((await options()).body, { methods: ['password'], passkey: null })
    const app = await hive.enrolTotp(ada)
    assert.deepEqual((await options()).body, { methods: ['totp', 'recovery'], passkey: null })
    assert.equal((await byPassword(hive, ada)).problem.code, 'step_up_failed')
    assert.equal((await byCode(hive, ada, app.code())).status, 200)
    assert.equal((await byCode(hive, ada, app.recoveryCodes[0] ?? '', 'recovery')).status, 200)
    assert.equal((await byCode(hive, ada, app.recoveryCodes[0] ?? '', 'recovery')).problem.code, 'step_up_failed')
  })

  test('of 50 at once with one code one is given', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const code = (await hive.enrolTotp(ada)).code()
    const replies = await Promise.all(Array.from({ length: 50 }, () => byCode(hive, ada, code)))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
  })

  test('of somebody without password and factor there is none', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.ctx.db.kysely.updateTable('users').set({ passwordHash: null }).where('id', '=', ada.userId).execute()
    const options = await hive.call(contract.startStepUp, { token: ada.token, body: act })
    assert.deepEqual(options.body, { methods: [], passkey: null })
    assert.equal((await byPassword(hive, ada)).problem.code, 'step_up_failed')
  })

  test('is only for operations that ask for one', async () => {
    await using hive = await open()
    const { token } = await hive.person('ada')
    for (const operation of ['logOut', 'nope', 'constructor', 'toString']) {
      const body = { operation, method: 'password' as const, password }
      assert.equal((await hive.call(contract.stepUp, { token, body })).problem.code, 'invalid_operation')
      assert.equal(
        (await hive.call(contract.startStepUp, { token, body: { operation } })).problem.code,
        'invalid_operation',
      )
    }
  })

  test('after ten wrong passwords the next ones wait, in that session and in no other', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const again = await hive.logInAgain('ada')
    const replies = await Promise.all(Array.from({ length: 50 }, () => byPassword(hive, ada, 'wrong password here')))
    assert.equal(replies.filter(({ problem }) => problem.code === 'step_up_failed').length, 10)
    const throttled = replies.filter(({ problem }) => problem.code === 'login_throttled')
    assert.equal(throttled.length, 40)
    for (const { headers } of throttled) assert.equal(headers['retry-after'], '1')
    assert.equal((await byPassword(hive, ada)).problem.code, 'login_throttled')
    assert.equal((await byPassword(hive, again)).status, 200)
    hive.clock.advance(1000)
    assert.equal((await byPassword(hive, ada)).status, 200)
    assert.equal((await byPassword(hive, ada, 'wrong password here')).problem.code, 'step_up_failed')
  })

  test('is refused and remembered without what was typed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await byPassword(hive, ada, 'hunter2 hunter2 hunter2')
    await byPassword(hive, ada)
    const events = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .selectAll()
      .where('action', 'like', 'session.step%')
      .orderBy('id')
      .execute()
    assert.deepEqual(
      events.map(({ action, outcome }) => [action, outcome]),
      [
        ['session.step_up_refused', 'refused'],
        ['session.stepped_up', 'succeeded'],
      ],
    )
    assert.doesNotMatch(JSON.stringify(events) + hive.logged.join(''), /hunter2|nine amber/)
  })

  test('is not renewed by a refresh, and lasts five minutes from the proof', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { stepUpToken, expiresAt } = (await byPassword(hive, ada)).body
    assert.equal(Date.parse(expiresAt) - hive.ctx.clock.now(), 5 * 60_000)
    hive.clock.advance(5 * 60_000 - 1)
    const fresh = (await hive.call(sessions.refresh, { body: { refreshToken: ada.refreshToken } })).body
    hive.clock.advance(1)
    const reply = await use(hive, { ...ada, token: fresh.accessToken }, stepUpToken)
    assert.equal(reply.problem.code, 'step_up_required')
  })

  test('does not outlive a change of factors, a logout or the end of all sessions', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const again = await hive.logInAgain('ada')
    const before = (await byPassword(hive, again)).body.stepUpToken
    const app = await hive.enrolTotp(ada)
    assert.equal((await use(hive, again, before)).problem.code, 'step_up_required')

    const proof = (await byCode(hive, again, app.code())).body.stepUpToken
    await hive.call(sessions.logOut, { token: again.token })
    assert.equal((await use(hive, again, proof)).problem.code, 'session_revoked')
    assert.equal((await use(hive, ada, proof)).problem.code, 'step_up_required')
  })

  for (const [how, end] of [
    [
      'one session',
      (ada: Person, { sessionId }: Person) => ({
        endpoint: sessions.revokeSession,
        token: ada.token,
        params: { sessionId },
      }),
    ],
    ['all others', (ada: Person) => ({ endpoint: sessions.revokeOtherSessions, token: ada.token })],
    ['itself', (_: Person, own: Person) => ({ endpoint: sessions.logOut, token: own.token })],
  ] as const)
    test(`is worth nothing to a request that was under way when its session ended: ${how}`, async () => {
      await using hive = await open()
      const ada = await hive.person('ada')
      const intruder = await hive.logInAgain('ada')
      const { stepUpToken } = (await byPassword(hive, intruder)).body
      const { endpoint, ...call } = end(ada, intruder)
      assert.equal((await hive.call(endpoint, call as object)).status, 204)
      // The credentials are proved before the body is read, which may take its time.
      const { userId, sessionId } = intruder
      const actor = { ...nobody, kind: 'user' as const, id: userId, userId, sessionId, requestId: null, ip: null }
      const late = spendStepUp(hive.ctx, actor, { ...act, params: {}, bodyDigest: null }, stepUpToken)
      await assert.rejects(late, { code: 'step_up_required' })
    })

  test('is nothing that a key could get or bring', async () => {
    await using hive = await open()
    const ada = await hive.admin()
    const body = { name: 'key', scopes: ['admin' as const] }
    const token = (await hive.call(apiKeys.createApiKey, { token: ada.token, body })).body.apiKey
    assert.equal((await byPassword(hive, { ...ada, token })).problem.code, 'permission_denied')
    const { stepUpToken } = (await byPassword(hive, ada)).body
    assert.equal((await use(hive, { ...ada, token }, stepUpToken)).problem.code, 'permission_denied')
    assert.equal((await use(hive, ada, stepUpToken)).status, 200)
  })
})
