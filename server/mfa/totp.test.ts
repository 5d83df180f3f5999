import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as contract from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { totpCodeAt } from '../platform/crypto/totp.ts'

describeHive('an authenticator app', (open) => {
  /** A login up to the second factor. */
  async function pending(hive: Hive, username: string, device?: { token: string }): Promise<string> {
    const body = { login: username, password, ...(device && { device }) }
    const reply = (await hive.call(sessions.logIn, { body })).body
    assert.ok('mfaRequired' in reply)
    return reply.mfaToken
  }
  const complete = (hive: Hive, mfaToken: string, code: string, method: 'totp' | 'recovery' = 'totp') =>
    hive.call(sessions.completeMfa, { body: { mfaToken, method, code } })
  async function begin(hive: Hive, person: Person): Promise<string> {
    const headers = await hive.stepUp(person, contract.startTotp, { body: {} })
    return (await hive.call(contract.startTotp, { token: person.token, body: {}, headers })).body.secret
  }
  const mailed = async (hive: Hive) => (await hive.mails()).map(({ text }) => text.replace(/\s+/g, ' ')).join()
  const now = (hive: Hive) => hive.ctx.clock.now()

  test('counts only once a code of it was confirmed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const secret = await begin(hive, ada)
    assert.deepEqual((await hive.call(contract.listFactors, { token: ada.token })).body.items, [])
    assert.equal((await hive.call(accounts.getMe, { token: ada.token })).body.mfa, false)
    // No second factor is asked for: the setup may never be finished.
    await hive.logInAgain('ada')

    const body = { code: totpCodeAt(secret, now(hive)) }
    const { factor, recoveryCodes } = (await hive.call(contract.confirmTotp, { token: ada.token, body })).body
    assert.equal(recoveryCodes?.length, 10)
    const { items, recoveryCodesLeft } = (await hive.call(contract.listFactors, { token: ada.token })).body
    assert.deepEqual([items, recoveryCodesLeft], [[factor], 10])
    assert.equal((await hive.call(accounts.getMe, { token: ada.token })).body.mfa, true)
    await pending(hive, 'ada')
    const mail = await hive.mailTo('ada@example.net')
    assert.match(mail.text, /An authenticator app was added/)
  })

  test('a setup that is not finished within 15 minutes is none', async () => {
    await using hive = await open({ config: { accessTokenSeconds: 3600 } })
    const ada = await hive.person('ada')
    const secret = await begin(hive, ada)
    hive.clock.advance(15 * 60_000)
    const body = { code: totpCodeAt(secret, now(hive)) }
    assert.equal((await hive.call(contract.confirmTotp, { token: ada.token, body })).problem.code, 'factor_not_found')
  })

  test('a setup begun anew makes the secret shown before worthless', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const before = await begin(hive, ada)
    const after = await begin(hive, ada)
    const confirm = (secret: string) =>
      hive.call(contract.confirmTotp, { token: ada.token, body: { code: totpCodeAt(secret, now(hive)) } })
    assert.equal((await confirm(before)).problem.code, 'invalid_code')
    assert.equal((await confirm(after)).status, 200)
  })

  test('a second one is refused while there is one, and of many confirmations at once one counts', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const secret = await begin(hive, ada)
    const body = { code: totpCodeAt(secret, now(hive)) }
    const replies = await Promise.all(
      Array.from({ length: 50 }, () => hive.call(contract.confirmTotp, { token: ada.token, body })),
    )
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    const { items, recoveryCodesLeft } = (await hive.call(contract.listFactors, { token: ada.token })).body
    assert.deepEqual([items.length, recoveryCodesLeft], [1, 10])

    hive.clock.advance(30_000)
    const act = { operation: 'startTotp', bodyDigest: 'RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o' }
    const code = totpCodeAt(secret, now(hive))
    const stepUp = await hive.call(contract.stepUp, { token: ada.token, body: { ...act, method: 'totp', code } })
    const headers = { 'step-up': stepUp.body.stepUpToken }
    const second = await hive.call(contract.startTotp, { token: ada.token, body: {}, headers })
    assert.equal(second.problem.code, 'factor_exists')
  })

  test('the code that confirmed the setup signs nobody in, nor does it step up', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { secret } = await hive.enrolTotp(ada)
    const used = totpCodeAt(secret, now(hive))
    assert.equal((await complete(hive, await pending(hive, 'ada'), used)).problem.code, 'invalid_code')
    const body = { operation: 'startPasskey', method: 'totp' as const, code: used }
    assert.equal((await hive.call(contract.stepUp, { token: ada.token, body })).problem.code, 'step_up_failed')
  })

  test('of 50 logins at once with one code one is let in', async () => {
    await using hive = await open()
    const app = await hive.enrolTotp(await hive.person('ada'))
    const tokens: string[] = []
    for (let i = 0; i < 50; i++) tokens.push(await pending(hive, 'ada'))
    const code = app.code()
    // The waits would let only ten of them be checked; the rule must hold without.
    await hive.ctx.db.kysely.deleteFrom('loginThrottles').execute()
    const replies = await Promise.all(tokens.map((mfaToken) => complete(hive, mfaToken, code)))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    for (const { status, problem } of replies)
      if (status !== 200) assert.match(problem.code, /^(invalid_code|login_throttled)$/)
    const live = await hive.ctx.db.kysely.selectFrom('sessions').select('id').where('amr', 'like', '%otp%').execute()
    assert.equal(live.length, 1)
  })

  test('after a code, it and every earlier one is worthless', async () => {
    await using hive = await open()
    const { secret } = await hive.enrolTotp(await hive.person('ada'))
    hive.clock.advance(60_000)
    const [earlier, current] = [totpCodeAt(secret, now(hive) - 30_000), totpCodeAt(secret, now(hive))]
    assert.equal((await complete(hive, await pending(hive, 'ada'), current)).status, 200)
    for (const code of [current, earlier])
      assert.equal((await complete(hive, await pending(hive, 'ada'), code)).problem.code, 'invalid_code')
    const next = totpCodeAt(secret, now(hive) + 30_000)
    assert.equal((await complete(hive, await pending(hive, 'ada'), next)).status, 200)
  })

  test('its secret is in no table, and is not shown again', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { secret } = await hive.enrolTotp(ada)
    const rows = await hive.ctx.db.kysely.selectFrom('factors').selectAll().execute()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
    const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('')
    const bytes = Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? [])
    assert.equal(bytes.length, 20)
    const kept = JSON.stringify([rows, await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()])
    for (const form of ['base64', 'base64url', 'hex'] as const) assert.ok(!kept.includes(bytes.toString(form)))
    assert.ok(!kept.includes(secret) && !hive.logged.join('').includes(secret))
    assert.match(String(rows[0]?.sealedSecret), /^v1\./)
    const shown = JSON.stringify((await hive.call(contract.listFactors, { token: ada.token })).body)
    assert.ok(!shown.includes(secret))
  })

  test('a sealed secret moved to another person’s factor opens nothing', async () => {
    await using hive = await open()
    const eve = await hive.person('eve')
    const mine = await hive.enrolTotp(eve)
    await hive.enrolTotp(await hive.person('ada'))
    const { db } = hive.ctx
    const row = await db.kysely.selectFrom('factors').select('sealedSecret').where('userId', '=', eve.userId).execute()
    const [{ sealedSecret } = { sealedSecret: '' }] = row
    await db.kysely.updateTable('factors').set({ sealedSecret }).where('userId', '<>', eve.userId).execute()
    assert.equal((await complete(hive, await pending(hive, 'ada'), mine.code())).status, 500)
  })

  test('after ten wrong codes the next ones wait, and a new pending login waits with them', async () => {
    await using hive = await open()
    const app = await hive.enrolTotp(await hive.person('ada'))
    for (let i = 0; i < 10; i++)
      assert.equal((await complete(hive, await pending(hive, 'ada'), '000000')).problem.code, 'invalid_code')
    const refused = await complete(hive, await pending(hive, 'ada'), '000000')
    assert.deepEqual([refused.status, refused.problem.code], [429, 'login_throttled'])
    assert.match(String(refused.headers['retry-after']), /^\d+$/)
    hive.clock.advance(1000)
    assert.equal((await complete(hive, await pending(hive, 'ada'), '000000')).problem.code, 'invalid_code')
    // Twice as long each time.
    hive.clock.advance(1000)
    assert.equal((await complete(hive, await pending(hive, 'ada'), '000000')).status, 429)
    hive.clock.advance(1000)
    assert.equal((await complete(hive, await pending(hive, 'ada'), app.code())).status, 200)
    // What was right makes up for it.
    assert.equal((await complete(hive, await pending(hive, 'ada'), '000000')).problem.code, 'invalid_code')
    assert.match(await mailed(hive), /entered 10 codes in a row/)
  })

  test('a pending login allows five tries, at once or one by one', async () => {
    await using hive = await open()
    const app = await hive.enrolTotp(await hive.person('ada'))
    const mfaToken = await pending(hive, 'ada')
    const replies = await Promise.all(Array.from({ length: 50 }, () => complete(hive, mfaToken, '000000')))
    assert.equal(replies.filter(({ problem }) => problem.code === 'invalid_code').length, 5)
    assert.equal(replies.filter(({ problem }) => problem.code === 'invalid_mfa_token').length, 45)
    assert.equal((await complete(hive, mfaToken, app.code())).problem.code, 'invalid_mfa_token')
  })

  test('who knows the password and enters wrong codes keeps the person out of neither the known device, nor a session, nor a recovery code', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const body = { login: 'ada', password, device: { name: 'laptop' } }
    const first = (await hive.call(sessions.logIn, { body })).body
    assert.ok('deviceToken' in first && first.deviceToken)
    const device = { token: first.deviceToken }
    const app = await hive.enrolTotp(ada)
    const guess = async () => {
      await hive.ctx.db.kysely.deleteFrom('loginThrottles').execute()
      return complete(hive, await pending(hive, 'ada'), '000000')
    }
    for (let i = 0; i < 100; i++) assert.equal((await guess()).problem.code, 'invalid_code')
    const kept = await mailed(hive)
    assert.match(kept, /entered 100 codes in a row/)

    // Nobody else may try any more, not even with the right code.
    await hive.ctx.db.kysely.deleteFrom('loginThrottles').execute()
    assert.equal((await complete(hive, await pending(hive, 'ada'), app.code())).problem.code, 'invalid_code')
    const act = { operation: 'startPasskey', method: 'totp' as const, code: app.code() }
    const before = { userId: ada.userId, failures: 100 }
    const failures = () => hive.ctx.db.kysely.selectFrom('factors').select(['userId', 'failures']).execute()
    assert.deepEqual(await failures(), [before])
    assert.equal((await complete(hive, await pending(hive, 'ada', device), app.code())).status, 200)
    assert.deepEqual(await failures(), [{ ...before, failures: 0 }])

    await hive.ctx.db.kysely.updateTable('factors').set({ failures: 100 }).execute()
    assert.equal(
      (await hive.call(contract.stepUp, { token: ada.token, body: { ...act, code: app.code() } })).status,
      200,
    )
    await hive.ctx.db.kysely.updateTable('factors').set({ failures: 100 }).execute()
    const [code = ''] = app.recoveryCodes
    assert.equal((await complete(hive, await pending(hive, 'ada'), code, 'recovery')).status, 200)
    assert.deepEqual(await failures(), [{ ...before, failures: 0 }])
  })

  test('is removed at once, its recovery codes with it, and only with a fresh proof', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    const mfaToken = await pending(hive, 'ada')
    const refused = await hive.call(contract.removeTotp, { token: ada.token })
    assert.equal(refused.problem.code, 'step_up_required')
    const headers = await hive.stepUp(ada, contract.removeTotp)
    assert.equal((await hive.call(contract.removeTotp, { token: ada.token, headers })).status, 204)
    // A login that was let in under the old rules goes on under none.
    assert.equal((await complete(hive, mfaToken, '000000')).problem.code, 'invalid_mfa_token')
    const { items, recoveryCodesLeft } = (await hive.call(contract.listFactors, { token: ada.token })).body
    assert.deepEqual([items, recoveryCodesLeft], [[], 0])
    await hive.logInAgain('ada')
    assert.match(await mailed(hive), /authenticator app was removed/)
  })

  test('stays while the password is too short to stand alone', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    await hive.ctx.db.kysely.updateTable('users').set({ passwordShortAt: 1 }).where('id', '=', ada.userId).execute()
    const headers = await hive.stepUp(ada, contract.removeTotp)
    const reply = await hive.call(contract.removeTotp, { token: ada.token, headers })
    assert.equal(reply.problem.code, 'password_too_short_alone')
    await pending(hive, 'ada')
  })
})
