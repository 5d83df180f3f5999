import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as contract from '@hivesync/contracts/mfa.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'
import { nobody } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { type Client, type Proof, passGate } from './sessions.ts'

describeHive('the gate', (open) => {
  const client: Client = { deviceName: null, userAgent: null, deviceKey: null, known: undefined }
  const actor = { ...nobody, requestId: null, ip: null }
  const enter = (hive: Hive, userId: string, proof: { isMultiFactor: boolean; use?: Proof['use'] }) =>
    passGate(hive.ctx, actor, { userId, amr: ['ext'], ...proof }, client)
  async function pending(hive: Hive, login: string) {
    const reply = (await hive.call(sessions.logIn, { body: { login, password } })).body
    assert.ok('mfaRequired' in reply)
    return reply
  }
  const complete = (hive: Hive, mfaToken: string, code: string) =>
    hive.call(sessions.completeMfa, { body: { mfaToken, method: 'totp', code } })
  const countSessions = async (hive: Hive) =>
    (await hive.ctx.db.kysely.selectFrom('sessions').select('id').execute()).length

  test('asks a person with a second factor for it, whatever proved the first', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    const before = await countSessions(hive)
    const byPassword = await pending(hive, 'ada')
    assert.deepEqual(byPassword.methods, ['totp', 'recovery'])
    const elsewhere = await enter(hive, ada.userId, { isMultiFactor: false })
    assert.ok(elsewhere !== undefined && 'mfaRequired' in elsewhere)
    assert.equal(await countSessions(hive), before)
    const both = await enter(hive, ada.userId, { isMultiFactor: true })
    assert.ok(both !== undefined && 'accessToken' in both)
    assert.deepEqual(both.session.methods, ['ext'])
  })

  test('asks also where the factor is of a kind that it does not know: then nothing but a recovery code opens', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const app = await hive.enrolTotp(ada)
    await hive.ctx.db.kysely.updateTable('factors').set({ kind: 'of-tomorrow' }).execute()
    const { methods, mfaToken } = await pending(hive, 'ada')
    assert.deepEqual(methods, ['recovery'])
    assert.equal((await complete(hive, mfaToken, app.code())).problem.code, 'invalid_code')
    const act = { operation: 'startPasskey', method: 'password' as const, password }
    assert.equal((await hive.call(contract.stepUp, { token: ada.token, body: act })).problem.code, 'step_up_failed')
  })

  test('lets nobody in whose proof was used by another in the same moment, or whose account is closed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    assert.equal(await enter(hive, ada.userId, { isMultiFactor: true, use: async () => false }), undefined)
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', ada.userId).execute()
    assert.equal(await enter(hive, ada.userId, { isMultiFactor: true }), undefined)
  })

  test('lets nobody in whose email address must be verified first', async () => {
    await using hive = await open({ config: { emailVerification: 'optional' } })
    const ada = await hive.person('ada')
    Object.assign(hive.ctx.config, { emailVerification: 'required' })
    const reply = await hive.call(sessions.logIn, { body: { login: 'ada', password } })
    assert.equal(reply.problem.code, 'email_unverified')
    const wrong = await hive.call(sessions.logIn, { body: { login: 'ada', password: 'not the right password' } })
    assert.equal(wrong.problem.code, 'invalid_credentials')
    await assert.rejects(enter(hive, ada.userId, { isMultiFactor: true }), { code: 'email_unverified' })
  })

  test('a pending login opens nothing: no operation takes it for a session', async () => {
    await using hive = await open()
    await hive.enrolTotp(await hive.person('ada'))
    const { mfaToken } = await pending(hive, 'ada')
    for (const operation of operations.values()) {
      if (operation.access === 'public' || operation.access === 'worker') continue
      const url = operation.path.replace(/:\w+/g, '1')
      const reply = await hive.inject({
        method: operation.method,
        url,
        headers: { authorization: `Bearer ${mfaToken}` },
      })
      assert.equal(reply.statusCode, 401, operation.name)
    }
    const asRefresh = await hive.call(sessions.refresh, { body: { refreshToken: mfaToken } })
    assert.equal(asRefresh.problem.code, 'invalid_refresh_token')
    assert.equal((await hive.call(sessions.startMfaPasskey, { body: { mfaToken } })).problem.code, 'factor_not_found')
  })

  test('of 50 completions at once of one pending login one makes a session', async () => {
    await using hive = await open()
    const app = await hive.enrolTotp(await hive.person('ada'))
    const { mfaToken } = await pending(hive, 'ada')
    const before = await countSessions(hive)
    const code = app.code()
    const replies = await Promise.all(Array.from({ length: 50 }, () => complete(hive, mfaToken, code)))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    assert.equal(await countSessions(hive), before + 1)
    assert.equal((await complete(hive, mfaToken, app.code())).problem.code, 'invalid_mfa_token')

    // Each with a code of its own, that no other uses up.
    const second = (await pending(hive, 'ada')).mfaToken
    const byRecovery = await Promise.all(
      app.recoveryCodes.map((each) =>
        hive.call(sessions.completeMfa, { body: { mfaToken: second, method: 'recovery', code: each } }),
      ),
    )
    assert.equal(byRecovery.filter(({ status }) => status === 200).length, 1)
    assert.equal(await countSessions(hive), before + 2)
  })

  test('somebody else’s device is a stranger’s: whoever brings devices of their own has no more guesses', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    const mallory = await hive.person('mallory')
    const devices = hive.ctx.db.kysely.selectFrom('knownDevices').select(['id', 'userId'])
    const known = await devices.where('userId', '=', mallory.userId).executeTakeFirstOrThrow()
    // As after the external sign-in: no password, whose check looks at the device too.
    const proof = { userId: ada.userId, amr: ['ext'], isMultiFactor: false }
    const half = await passGate(hive.ctx, actor, proof, { ...client, known })
    assert.ok(half !== undefined && 'mfaRequired' in half)
    assert.equal((await complete(hive, half.mfaToken, '000000')).problem.code, 'invalid_code')
    const counted = hive.ctx.db.kysely.selectFrom('factors').select('failures').where('userId', '=', ada.userId)
    assert.equal((await counted.executeTakeFirstOrThrow()).failures, 1)
  })

  test('a pending login lasts five minutes', async () => {
    await using hive = await open()
    const app = await hive.enrolTotp(await hive.person('ada'))
    const { mfaToken, expiresIn } = await pending(hive, 'ada')
    assert.equal(expiresIn, 300)
    hive.clock.advance(300_000)
    assert.equal((await complete(hive, mfaToken, app.code())).problem.code, 'invalid_mfa_token')
  })

  test('a pending login dies with the password that began it, with the account, and with a change of factors', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const app = await hive.enrolTotp(ada)
    const { db } = hive.ctx
    const change = (set: object) => db.kysely.updateTable('users').set(set).where('id', '=', ada.userId).execute()
    const [row] = await db.kysely.selectFrom('users').select('passwordHash').where('id', '=', ada.userId).execute()

    const first = await pending(hive, 'ada')
    await change({ passwordHash: `${row?.passwordHash}x` })
    assert.equal((await complete(hive, first.mfaToken, app.code())).problem.code, 'invalid_mfa_token')
    await change({ passwordHash: row?.passwordHash })

    const second = await pending(hive, 'ada')
    await change({ deactivatedAt: 1 })
    assert.equal((await complete(hive, second.mfaToken, app.code())).problem.code, 'invalid_mfa_token')
    await change({ deactivatedAt: null })

    const third = await pending(hive, 'ada')
    const headers = await hive.stepUp(ada, contract.renewRecoveryCodes)
    await hive.call(contract.renewRecoveryCodes, { token: ada.token, headers })
    assert.equal((await complete(hive, third.mfaToken, app.code())).problem.code, 'invalid_mfa_token')
  })

  test('a factor that came between the password and the session is asked for', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    // In the moment between: the first factor is proved, and the session not yet there.
    const use = async (tx: Db) => {
      const factor = { id: hive.ctx.random.id(), userId: ada.userId, kind: 'totp', name: 'app', createdAt: 1 }
      await tx
        .insertInto('factors')
        .values({ ...factor, confirmedAt: 1 })
        .execute()
      return true
    }
    const reply = await enter(hive, ada.userId, { isMultiFactor: false, use })
    assert.ok(reply !== undefined && 'mfaRequired' in reply)
  })

  test('a person has at most 50 live sessions: the one unused for longest ends, on its next request', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const people = [ada]
    for (let i = 1; i < 50; i++) {
      hive.clock.advance(1000)
      people.push(await hive.logInAgain('ada'))
    }
    const status = async (token: string) => (await hive.call(accounts.getMe, { token })).status
    for (const { token } of people) assert.equal(await status(token), 200)
    hive.clock.advance(1000)
    const newest = await hive.logInAgain('ada')
    assert.deepEqual(
      (await Promise.all([...people, newest].map(({ token }) => status(token)))).filter((each) => each !== 200),
      [401],
    )
  })

  test('every login, refusal and half-way is audited', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const app = await hive.enrolTotp(ada)
    const { mfaToken } = await pending(hive, 'ada')
    await complete(hive, mfaToken, '000000')
    await complete(hive, mfaToken, app.code())
    const events = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['action', 'outcome'])
      .where('action', 'in', ['session.started', 'session.mfa_required', 'session.mfa_refused'])
      .where('targetId', 'is not', null)
      .orderBy('id', 'desc')
      .limit(3)
      .execute()
    assert.deepEqual(
      events.map(({ action, outcome }) => `${action} ${outcome}`),
      ['session.started succeeded', 'session.mfa_refused refused', 'session.mfa_required succeeded'],
    )
  })
})
