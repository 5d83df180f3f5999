import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import * as devices from '@hivesync/contracts/device-login.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'
import { audited, linksTo, linkTo, otherPassword } from './test-links.ts'

const minuteMs = 60_000
const ask = (hive: Hive, login: string) => hive.call(credentials.requestPasswordReset, { body: { login } })
const reset = (hive: Hive, token: string, newPassword = otherPassword) =>
  hive.call(credentials.resetPassword, { body: { token, newPassword } })
const logIn = (hive: Hive, typed: string) => hive.call(sessions.logIn, { body: { login: 'ada', password: typed } })
const me = (hive: Hive, token: string) => hive.call(accounts.getMe, { token })
const resetLink = async (hive: Hive) => {
  assert.equal((await ask(hive, 'ada')).status, 202)
  return linkTo(hive, 'ada@example.net', 'reset')
}

describeHive('a password reset', (open) => {
  test('sets the password with the link of the mail, and the owner is told', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const token = await resetLink(hive)
    const reply = await reset(hive, token)
    assert.equal(reply.status, 204)
    assert.match((await hive.mailTo('ada@example.net')).text, /Your password was reset/)
    assert.equal((await logIn(hive, otherPassword)).status, 200)
    assert.equal((await logIn(hive, password)).status, 401)
    for (const action of ['account.password_reset_requested', 'account.password_reset'])
      assert.deepEqual(
        (await audited(hive, action)).map(({ outcome, targetId }) => [outcome, targetId]),
        [['succeeded', ada.userId]],
      )
  })

  test('signs nobody in, and ends every session and the trust in every device', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const elsewhere = await hive.logInAgain('ada', { device: { name: 'laptop' } })
    const token = await resetLink(hive)
    const { userId } = ada
    const rows = () => hive.ctx.db.kysely.selectFrom('knownDevices').select('id').where('userId', '=', userId).execute()
    assert.notEqual((await rows()).length, 0)
    assert.equal((await reset(hive, token)).body, undefined)
    for (const person of [ada, elsewhere]) {
      assert.equal((await me(hive, person.token)).problem.code, 'session_revoked')
      const refreshed = await hive.call(sessions.refresh, { body: { refreshToken: person.refreshToken } })
      assert.equal(refreshed.status, 401)
    }
    assert.equal((await rows()).length, 0)
    const live = hive.ctx.db.kysely.selectFrom('sessions').select('id').where('userId', '=', userId)
    assert.deepEqual(await live.where('revokedAt', 'is', null).execute(), [])
  })

  test('lets no device in that was approved before it and had not asked yet', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { deviceCode, userCode } = (await hive.call(devices.startDeviceLogin, { body: {} })).body
    const body = { userCode }
    const headers = await hive.stepUp(ada, devices.approveDeviceLogin, { body })
    const approved = await hive.call(devices.approveDeviceLogin, { token: ada.token, body, headers })
    assert.equal(approved.status, 204)
    assert.equal((await reset(hive, await resetLink(hive))).status, 204)
    const polled = await hive.call(devices.pollDeviceLogin, { body: { deviceCode } })
    assert.equal(polled.problem.code, 'invalid_device_code')
  })

  test('leaves second factors: the next login asks for them', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    assert.equal((await reset(hive, await resetLink(hive), 'q7#vKz!2p')).status, 204)
    const { body } = await logIn(hive, 'q7#vKz!2p')
    assert.ok('mfaRequired' in body)
  })

  test('happens once: of 50 uses of one link at the same time one succeeds', async () => {
    await using hive = await open()
    await hive.person('ada')
    const token = await resetLink(hive)
    const wishes = Array.from({ length: 50 }, (_, i) => `the password of use ${i} of the link`)
    const replies = await Promise.all(wishes.map((wish) => reset(hive, token, wish)))
    const winners = wishes.filter((_, i) => replies[i]?.status === 204)
    assert.equal(winners.length, 1)
    assert.ok(replies.every(({ status, problem }) => status === 204 || problem.code === 'invalid_link'))
    assert.equal((await logIn(hive, winners[0] ?? '')).status, 200)
    assert.equal(
      (await audited(hive, 'account.password_reset')).filter(({ outcome }) => outcome === 'refused').length,
      49,
    )
  })

  test('a link is good for 30 minutes, and a refused password does not use it up', async () => {
    await using hive = await open()
    await hive.person('ada')
    const token = await resetLink(hive)
    hive.clock.advance(30 * minuteMs - 1)
    for (const weak of ['too short', 'ada ada ada ada ada', 'q7#vKz!2p']) {
      const refused = await reset(hive, token, weak)
      assert.deepEqual([refused.status, refused.problem.code], [400, 'weak_password'])
    }
    hive.clock.advance(1)
    assert.equal((await reset(hive, token)).problem.code, 'invalid_link')
  })

  test('a link that was used, garbled, made up, of another purpose or of a deactivated person is refused with one answer', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [verification] = await linksTo(hive, 'ada@example.net', 'verify')
    const used = await resetLink(hive)
    await reset(hive, used)
    const eve = await hive.person('eve')
    await ask(hive, 'eve')
    const deactivated = await linkTo(hive, 'eve@example.net', 'reset')
    const change = { deactivatedAt: hive.clock.now() }
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', eve.userId).execute()
    const fresh = await resetLink(hive)
    const stepUp = (
      await hive.stepUp(await hive.admin(), credentials.setPassword, { body: { newPassword: otherPassword } })
    )['step-up']
    const links = [
      used,
      `${fresh.slice(0, -1)}_`,
      `${fresh}A`,
      fresh.slice(0, -1),
      'x',
      deactivated,
      verification,
      stepUp,
    ]
    for (const token of links) {
      const reply = await reset(hive, token ?? '')
      assert.deepEqual(
        [reply.status, reply.problem.code, reply.problem.detail],
        [401, 'invalid_link', undefined],
        token,
      )
    }
    assert.equal((await audited(hive, 'account.password_reset')).at(-1)?.details, '{"reason":"invalid_link"}')
    assert.equal((await reset(hive, fresh)).status, 204)
    assert.equal((await me(hive, ada.token)).status, 401)
  })

  test('a link is worthless once the account has another address', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const token = await resetLink(hive)
    const change = { email: 'moved@example.net', emailKey: 'moved@example.net' }
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', ada.userId).execute()
    assert.equal((await reset(hive, token)).problem.code, 'invalid_link')
  })

  test('is open where 100 failures have disabled the password, and lifts that', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const disabled = { passwordFailures: 100, passwordDisabledAt: hive.clock.now() }
    await hive.ctx.db.kysely.updateTable('users').set(disabled).where('id', '=', ada.userId).execute()
    assert.equal((await reset(hive, await resetLink(hive))).status, 204)
    assert.equal((await logIn(hive, otherPassword)).status, 200)
  })

  test('the links of several requests all work until one of them is used', async () => {
    await using hive = await open()
    await hive.person('ada')
    const first = await resetLink(hive)
    const second = await resetLink(hive)
    assert.equal((await reset(hive, first)).status, 204)
    assert.equal((await reset(hive, second)).problem.code, 'invalid_link')
  })

  test('nobody floods a mailbox, and nobody shuts its owner out by trying: whoever is held back has a link that works', async () => {
    await using hive = await open()
    await hive.person('ada')
    for (const login of ['ada', 'ADA', 'ada@example.net', 'Ada@Example.net'])
      await Promise.all(Array.from({ length: 12 }, () => ask(hive, login)))
    const links = await linksTo(hive, 'ada@example.net', 'reset')
    assert.equal(links.length, 3)
    hive.clock.advance(30 * minuteMs - 1)
    await ask(hive, 'ada')
    assert.equal((await linksTo(hive, 'ada@example.net', 'reset')).length, 3)
    assert.equal((await reset(hive, links[0] ?? '', 'short')).problem.code, 'weak_password')
    hive.clock.advance(1)
    await ask(hive, 'ada')
    assert.equal((await linksTo(hive, 'ada@example.net', 'reset')).length, 4)
  })

  test('one source does not use up what a mailbox may get from others', async () => {
    await using hive = await open({ config: { trustedProxies: ['127.0.0.1'] } })
    await hive.person('ada')
    const from = (address: string) =>
      hive.call(credentials.requestPasswordReset, { body: { login: 'ada' }, headers: { 'x-forwarded-for': address } })
    for (let i = 0; i < 20; i++) await from('198.51.100.7')
    assert.equal((await linksTo(hive, 'ada@example.net', 'reset')).length, 3)
    for (let i = 1; i < 20; i++) await from(`203.0.113.${i}`)
    assert.equal((await linksTo(hive, 'ada@example.net', 'reset')).length, 10)
  })
})

describeHive('a reset of an account whose address was never proved', (open) => {
  const register = async (hive: Hive) => {
    const squatter = await hive.person('ada')
    const body = { name: 'left behind', scopes: ['write' as const] }
    const { apiKey } = (await hive.call(apiKeys.createApiKey, { token: squatter.token, body })).body
    return { squatter, apiKey }
  }

  test('proves it, and ends the API keys of whoever registered', async () => {
    await using hive = await open()
    const { apiKey } = await register(hive)
    assert.equal((await me(hive, apiKey)).status, 200)
    assert.equal((await reset(hive, await resetLink(hive))).status, 204)
    assert.equal((await me(hive, apiKey)).status, 401)
    const owner = await hive.logInAgain('ada', { password: otherPassword })
    assert.equal((await me(hive, owner.token)).body.emailVerified, true)
  })

  test('does not prove it where a second factor of whoever registered would stay', async () => {
    await using hive = await open()
    const { squatter, apiKey } = await register(hive)
    await hive.enrolTotp(squatter)
    assert.equal((await reset(hive, await resetLink(hive))).status, 204)
    assert.equal((await me(hive, apiKey)).status, 401)
    const owner = await hive.logInAgain('ada', { password: otherPassword })
    assert.equal((await me(hive, owner.token)).body.emailVerified, false)
  })

  test('leaves the API keys where it was proved', async () => {
    await using hive = await open()
    const { apiKey } = await register(hive)
    const token = await linkTo(hive, 'ada@example.net', 'verify')
    assert.equal((await hive.call(credentials.verifyEmail, { body: { token } })).status, 204)
    assert.equal((await reset(hive, await resetLink(hive))).status, 204)
    assert.equal((await me(hive, apiKey)).status, 200)
  })
})
