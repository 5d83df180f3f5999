import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { audited, linksTo, linkTo } from './test-links.ts'

const verify = (hive: Hive, token: string) => hive.call(credentials.verifyEmail, { body: { token } })
const isVerified = async (hive: Hive, { token }: Person) =>
  (await hive.call(accounts.getMe, { token })).body.emailVerified
const address = 'ada@example.net'

describeHive('proving an email address', (open) => {
  test('happens with the link of the mail, once, and is seen at once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const token = await linkTo(hive, address, 'verify')
    assert.equal(await isVerified(hive, ada), false)
    const replies = await Promise.all(Array.from({ length: 50 }, () => verify(hive, token)))
    assert.equal(replies.filter(({ status }) => status === 204).length, 1)
    assert.equal(replies.filter(({ problem }) => problem.code === 'invalid_link').length, 49)
    assert.equal(await isVerified(hive, ada), true)
    const events = await audited(hive, 'account.email_verified')
    assert.deepEqual(
      events.filter(({ outcome }) => outcome === 'succeeded').map(({ targetId }) => targetId),
      [ada.userId],
    )
  })

  test('can be asked for again, three times in half an hour, and not once it is proved', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const ask = () => hive.call(credentials.requestEmailVerification, { token: ada.token })
    for (let i = 0; i < 6; i++) assert.equal((await ask()).status, 202)
    const links = await linksTo(hive, address, 'verify')
    assert.equal(links.length, 4)
    assert.equal((await verify(hive, links[2] ?? '')).status, 204)
    assert.equal((await verify(hive, links[3] ?? '')).problem.code, 'invalid_link')
    hive.clock.advance(3_600_000)
    assert.equal((await ask()).status, 401, 'the access token has expired')
    const again = await hive.logInAgain('ada')
    assert.equal((await hive.call(credentials.requestEmailVerification, { token: again.token })).status, 202)
    assert.equal((await linksTo(hive, address, 'verify')).length, 4)
  })

  test('a link is good for a day, for its address, and for an active person', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const token = await linkTo(hive, address, 'verify')
    const users = () => hive.ctx.db.kysely.updateTable('users').where('id', '=', ada.userId)
    await users().set({ email: 'other@example.net', emailKey: 'other@example.net' }).execute()
    assert.equal((await verify(hive, token)).problem.code, 'invalid_link')
    await users().set({ email: address, emailKey: address, deactivatedAt: 1 }).execute()
    assert.equal((await verify(hive, token)).problem.code, 'invalid_link')
    await users().set({ deactivatedAt: null }).execute()
    hive.clock.advance(24 * 3_600_000 - 1)
    // Refused uses have not spent it; time will.
    assert.equal((await verify(hive, `${token.slice(0, -1)}!`)).problem.code, 'invalid_link')
    hive.clock.advance(1)
    assert.equal((await verify(hive, token)).problem.code, 'invalid_link')
  })

  test('a link of another purpose proves nothing', async () => {
    await using hive = await open()
    await hive.person('ada')
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const token = await linkTo(hive, address, 'reset')
    assert.equal((await verify(hive, token)).problem.code, 'invalid_link')
    assert.equal((await hive.call(credentials.confirmEmailChange, { body: { token } })).problem.code, 'invalid_link')
    assert.equal((await hive.call(credentials.confirmRegistration, { body: { token } })).problem.code, 'invalid_link')
  })
})
