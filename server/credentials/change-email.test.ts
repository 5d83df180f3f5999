import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { audited, linksTo, linkTo, otherPassword } from './test-links.ts'

const ask = async (hive: Hive, person: Person, email: string) => {
  const body = { email }
  const headers = await hive.stepUp(person, credentials.requestEmailChange, { body })
  return hive.call(credentials.requestEmailChange, { token: person.token, body, headers })
}
const confirm = (hive: Hive, token: string) => hive.call(credentials.confirmEmailChange, { body: { token } })
const me = async (hive: Hive, { token }: Person) => (await hive.call(accounts.getMe, { token })).body
const logIn = (hive: Hive, login: string) => hive.call(sessions.logIn, { body: { login, password } })
const [old, next] = ['ada@example.net', 'ada@new.example.net']

describeHive('a change of email address', (open) => {
  test('happens with the link mailed to the new address, and the old one hears of both steps', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    assert.equal((await ask(hive, ada, next)).status, 202)
    const warning = await hive.mailTo(old)
    assert.match(warning.text, /asked at\s+2026-01-05T12:00:00\.000Z, from the\s+network 127\.0\.0\.0\/24\s+to change/)
    assert.match(warning.text, /stop it now: use "Forgot\s+password"/)
    assert.equal((await me(hive, ada)).email, old)
    assert.equal((await confirm(hive, await linkTo(hive, next, 'email'))).status, 204)
    const { email, emailVerified } = await me(hive, ada)
    assert.deepEqual([email, emailVerified], [next, true])
    assert.equal((await hive.mailTo(old)).subject, 'Your email address was changed')
    assert.deepEqual([(await logIn(hive, next)).status, (await logIn(hive, old)).status], [200, 401])
    const events = await audited(hive, 'account.email_changed')
    assert.deepEqual(
      events.map(({ outcome, targetId }) => [outcome, targetId]),
      [['succeeded', ada.userId]],
    )
  })

  test('needs a fresh proof for this very address', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const headers = await hive.stepUp(ada, credentials.requestEmailChange, { body: { email: next } })
    const { token } = ada
    for (const more of [{}, { headers }]) {
      const reply = await hive.call(credentials.requestEmailChange, {
        token,
        body: { email: 'eve@example.net' },
        ...more,
      })
      assert.equal(reply.problem.code, 'step_up_required')
    }
    assert.equal((await hive.mails()).filter(({ to }) => to === 'eve@example.net').length, 0)
  })

  test('leaves no link good that was sent before it, least of all in the old mailbox', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const verification = await linkTo(hive, old, 'verify')
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const reset = await linkTo(hive, old, 'reset')
    await ask(hive, ada, next)
    assert.equal((await confirm(hive, await linkTo(hive, next, 'email'))).status, 204)
    const tokens = hive.ctx.db.kysely.selectFrom('oneTimeTokens').select('purpose')
    assert.deepEqual(await tokens.where('userId', '=', ada.userId).execute(), [])
    const body = { token: reset, newPassword: otherPassword }
    assert.equal((await hive.call(credentials.resetPassword, { body })).problem.code, 'invalid_link')
    const verified = await hive.call(credentials.verifyEmail, { body: { token: verification } })
    assert.equal(verified.problem.code, 'invalid_link')
  })

  test('is stopped by a reset from the old mailbox, and by a change of the password', async () => {
    await using hive = await open()
    const eve = await hive.person('ada')
    await ask(hive, eve, next)
    const first = await linkTo(hive, next, 'email')
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const body = { token: await linkTo(hive, old, 'reset'), newPassword: otherPassword }
    assert.equal((await hive.call(credentials.resetPassword, { body })).status, 204)
    assert.equal((await confirm(hive, first)).problem.code, 'invalid_link')
  })

  test('only the newest link works, for 30 minutes and once, of 50 uses at the same time', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await ask(hive, ada, 'mistyped@example.net')
    await ask(hive, ada, next)
    assert.equal(
      (await confirm(hive, await linkTo(hive, 'mistyped@example.net', 'email'))).problem.code,
      'invalid_link',
    )
    const token = await linkTo(hive, next, 'email')
    const statuses = (await Promise.all(Array.from({ length: 50 }, () => confirm(hive, token)))).map(
      ({ status }) => status,
    )
    assert.deepEqual(
      [statuses.filter((status) => status === 204).length, statuses.filter((status) => status === 401).length],
      [1, 49],
    )
    await ask(hive, ada, 'late@example.net')
    const late = await linkTo(hive, 'late@example.net', 'email')
    hive.clock.advance(30 * 60_000)
    assert.equal((await confirm(hive, late)).problem.code, 'invalid_link')
  })

  test('an address that somebody has taken meanwhile is refused, and the link with it goes to nobody else', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await ask(hive, ada, 'eve@example.net')
    const token = await linkTo(hive, 'eve@example.net', 'email')
    await hive.person('eve')
    const reply = await confirm(hive, token)
    assert.deepEqual([reply.status, reply.problem.code], [409, 'email_taken'])
    assert.equal((await me(hive, ada)).email, old)
    const [event] = await audited(hive, 'account.email_changed')
    assert.deepEqual([event?.outcome, event?.details], ['refused', '{"reason":"email_taken"}'])
  })

  test('of two accounts that confirm one address at once, one gets it', async () => {
    await using hive = await open()
    const people = [await hive.person('ada'), await hive.person('eve')]
    for (const person of people) await ask(hive, person, next)
    const links = await linksTo(hive, next, 'email')
    assert.equal(links.length, 2)
    const statuses = (await Promise.all(links.map((token) => confirm(hive, token)))).map(({ status }) => status)
    assert.deepEqual(statuses.sort(), [204, 409])
  })

  test('the same address in another case is a change like any other', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await ask(hive, ada, 'Ada@Example.net')
    assert.equal((await confirm(hive, await linkTo(hive, 'Ada@example.net', 'email'))).status, 204)
    assert.equal((await me(hive, ada)).email, 'Ada@Example.net')
  })

  test('a person floods nobody with such mails', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    for (let i = 0; i < 6; i++) assert.equal((await ask(hive, ada, 'victim@example.net')).status, 202)
    assert.equal((await hive.mails()).filter(({ to }) => to === 'victim@example.net').length, 3)
  })
})
