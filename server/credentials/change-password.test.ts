import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { audited, linkTo, otherPassword } from './test-links.ts'

const change = (hive: Hive, person: Person, currentPassword = password, newPassword = otherPassword) =>
  hive.call(credentials.changePassword, { token: person.token, body: { currentPassword, newPassword } })
const logIn = (hive: Hive, login: string, typed: string) =>
  hive.call(sessions.logIn, { body: { login, password: typed } })
const me = (hive: Hive, person: Person) => hive.call(accounts.getMe, { token: person.token })
const userRow = (hive: Hive, person: Person) =>
  hive.ctx.db.kysely.selectFrom('users').selectAll().where('id', '=', person.userId).executeTakeFirstOrThrow()

describeHive('changing the password', (open) => {
  test('the new password signs in and the old one no longer does; the owner is told and it is remembered', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    assert.equal((await change(hive, ada)).status, 204)
    assert.match((await hive.mailTo('ada@example.net')).text, /Your password was changed\./)
    assert.equal((await logIn(hive, 'ada', otherPassword)).status, 200)
    assert.equal((await logIn(hive, 'ada', password)).status, 401)
    const [event] = await audited(hive, 'account.password_changed')
    assert.deepEqual([event?.outcome, event?.actorId, event?.targetId], ['succeeded', ada.userId, ada.userId])
  })

  test('every other session is refused on its next request, and this one goes on', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const elsewhere = await hive.logInAgain('ada')
    assert.equal((await me(hive, elsewhere)).status, 200)
    assert.equal((await change(hive, ada)).status, 204)
    assert.equal((await me(hive, elsewhere)).problem.code, 'session_revoked')
    const refreshed = await hive.call(sessions.refresh, { body: { refreshToken: elsewhere.refreshToken } })
    assert.equal(refreshed.status, 401)
    assert.equal((await me(hive, ada)).status, 200)
  })

  test('needs the current password, and says nothing else of it', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const wrong = await change(hive, ada, 'not the current password')
    assert.deepEqual([wrong.status, wrong.problem.code], [403, 'step_up_failed'])
    assert.equal((await logIn(hive, 'ada', password)).status, 200)
    const [event] = await audited(hive, 'account.password_changed')
    assert.deepEqual([event?.outcome, event?.details], ['refused', '{"reason":"step_up_failed"}'])
  })

  test('50 guesses of the current password at once are counted one by one, with those of step-ups', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const guesses = Array.from({ length: 50 }, (_, i) => change(hive, ada, `guess number ${i} of the password`))
    const codes = (await Promise.all(guesses)).map(({ problem }) => problem.code)
    assert.equal(codes.filter((code) => code === 'step_up_failed').length, 10)
    assert.equal(codes.filter((code) => code === 'login_throttled').length, 40)
    const body = { operation: 'setPassword', method: 'password' as const, password }
    assert.equal((await hive.call(mfa.stepUp, { token: ada.token, body })).problem.code, 'login_throttled')
    hive.clock.advance(60_000)
    assert.equal((await change(hive, ada)).status, 204)
  })

  test('of several changes at once one succeeds, and its password is the one that counts', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const mine = Array.from({ length: 8 }, (_, i) => `the password of attempt ${i} of many`)
    const replies = await Promise.all(mine.map((wish) => change(hive, ada, password, wish)))
    const winners = mine.filter((_, i) => replies[i]?.status === 204)
    assert.equal(winners.length, 1)
    for (const wish of mine) {
      hive.clock.advance(60_000)
      assert.equal((await logIn(hive, 'ada', wish)).status, wish === winners[0] ? 200 : 401)
    }
  })

  test('a change and a reset at once leave one password, the one whose caller was told so last', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const token = await linkTo(hive, 'ada@example.net', 'reset')
    const reset = hive.call(credentials.resetPassword, { body: { token, newPassword: 'the one of the reset link' } })
    const [changed, wasReset] = await Promise.all([change(hive, ada), reset])
    // Whichever came first has made the other's proof worthless: the hash is another, or the link is gone.
    assert.deepEqual([changed.status, wasReset.status].filter((status) => status === 204).length, 1)
    const winner = changed.status === 204 ? otherPassword : 'the one of the reset link'
    assert.equal((await logIn(hive, 'ada', winner)).status, 200)
    assert.equal((await logIn(hive, 'ada', password)).status, 401)
  })

  test('links, pending logins and proofs handed out before it are worthless', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    const body = { email: 'ada@new.example.net' }
    const headers = await hive.stepUp(ada, credentials.requestEmailChange, { body })
    const pending = await logIn(hive, 'ada', password)
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const token = await linkTo(hive, 'ada@example.net', 'reset')
    assert.equal((await change(hive, ada)).status, 204)
    const spent = await hive.call(credentials.requestEmailChange, { token: ada.token, body, headers })
    assert.equal(spent.problem.code, 'step_up_required')
    const reset = await hive.call(credentials.resetPassword, { body: { token, newPassword: otherPassword } })
    assert.equal(reset.problem.code, 'invalid_link')
    assert.ok('mfaToken' in pending.body)
    const { mfaToken } = pending.body
    const finished = await hive.call(sessions.completeMfa, { body: { mfaToken, method: 'totp', code: '000000' } })
    assert.equal(finished.problem.code, 'invalid_mfa_token')
    assert.equal((await hive.ctx.db.kysely.selectFrom('oneTimeTokens').select('purpose').execute()).length, 0)
  })

  test('eight characters do beside a second factor, and are remembered as short; alone they do not', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const short = await change(hive, ada, password, 'q7#vKz!2p')
    assert.deepEqual([short.status, short.problem.code], [400, 'weak_password'])
    assert.equal(short.problem.fields?.[0]?.path, 'body/newPassword')
    await hive.enrolTotp(ada)
    assert.equal((await change(hive, ada, password, 'q7#vKz!2p')).status, 204)
    assert.notEqual((await userRow(hive, ada)).passwordShortAt, null)
    assert.equal((await change(hive, ada, 'q7#vKz!2p', otherPassword)).status, 204)
    assert.equal((await userRow(hive, ada)).passwordShortAt, null)
  })

  test('a short password never stands alone, also when the factor beside it is removed at the same moment', async () => {
    await using hive = await open()
    for (const name of ['ada', 'bea', 'cleo', 'dora']) {
      const person = await hive.person(name)
      await hive.enrolTotp(person)
      const headers = await hive.stepUp(person, mfa.removeTotp)
      const removal = hive.call(mfa.removeTotp, { token: person.token, headers })
      const replies = await Promise.all([change(hive, person, password, 'q7#vKz!2p'), removal])
      assert.ok(replies.some(({ status }) => status === 204))
      const isShort = (await userRow(hive, person)).passwordShortAt !== null
      assert.ok(!isShort || (await me(hive, person)).body.mfa, name)
    }
  })

  test('a password that failed logins had disabled works again', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const disabled = { passwordFailures: 100, passwordDisabledAt: hive.clock.now() }
    await hive.ctx.db.kysely.updateTable('users').set(disabled).where('id', '=', ada.userId).execute()
    assert.equal((await logIn(hive, 'ada', password)).status, 401)
    assert.equal((await change(hive, ada)).status, 204)
    assert.equal((await logIn(hive, 'ada', otherPassword)).status, 200)
  })

  test('no age of a password ever asks for another one', async () => {
    await using hive = await open()
    await hive.person('ada')
    hive.clock.advance(5 * 365 * 24 * 3_600_000)
    assert.equal((await logIn(hive, 'ada', password)).status, 200)
  })

  test('pasted text, spaces at its ends and 64 characters beyond the Basic Multilingual Plane are the password as they are', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const odd = `  ${'🐝'.repeat(64)} `
    assert.equal((await change(hive, ada, password, odd)).status, 204)
    assert.equal((await logIn(hive, 'ada', odd.trim())).status, 401)
    assert.equal((await logIn(hive, 'ada', odd)).status, 200)
  })
})

describeHive('setting a first password', (open) => {
  const set = async (hive: Hive, person: Person, newPassword = otherPassword) => {
    const headers = await hive.stepUp(person, credentials.setPassword, { body: { newPassword } })
    return hive.call(credentials.setPassword, { token: person.token, body: { newPassword }, headers })
  }
  const forgetPassword = (hive: Hive, person: Person) =>
    hive.ctx.db.kysely.updateTable('users').set({ passwordHash: null }).where('id', '=', person.userId).execute()

  test('who has none sets one with a fresh proof, and only then', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    await forgetPassword(hive, ada)
    const body = { newPassword: otherPassword }
    const bare = await hive.call(credentials.setPassword, { token: ada.token, body })
    assert.equal(bare.problem.code, 'step_up_required')
    assert.equal((await change(hive, ada, '', '')).status, 400)
    assert.equal((await change(hive, ada, password, otherPassword)).problem.code, 'step_up_failed')
    assert.equal((await set(hive, ada)).status, 204)
    assert.equal((await hive.logInAgain('ada', { password: otherPassword })).userId, ada.userId)
    assert.equal((await audited(hive, 'account.password_set')).at(-1)?.outcome, 'succeeded')
  })

  test('who has one cannot go past the current one', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const reply = await set(hive, ada)
    assert.deepEqual([reply.status, reply.problem.code], [409, 'password_exists'])
    assert.equal((await logIn(hive, 'ada', password)).status, 200)
  })
})
