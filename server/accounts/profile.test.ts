import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'

const rename = (hive: Hive, person: Person, username: string) =>
  hive.call(accounts.updateMe, { token: person.token, body: { username } })
const me = async (hive: Hive, { token }: Person) => (await hive.call(accounts.getMe, { token })).body

describeHive('the profile', (open) => {
  test('another username signs in from then on, is shown at once, and the owner is told', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const reply = await rename(hive, ada, 'Countess')
    assert.deepEqual([reply.status, reply.body.username], [200, 'Countess'])
    assert.equal((await me(hive, ada)).username, 'Countess')
    assert.match((await hive.mailTo('ada@example.net')).text, /is now Countess\./)
    const logIn = (login: string) => hive.call(sessions.logIn, { body: { login, password } })
    assert.deepEqual([(await logIn('countess')).status, (await logIn('ada')).status], [200, 401])
    const events = hive.ctx.db.kysely.selectFrom('auditEvents').selectAll()
    const [event] = await events.where('action', '=', 'account.username_changed').execute()
    assert.deepEqual([event?.outcome, event?.actorId], ['succeeded', ada.userId])
  })

  test('a username is unique without regard to case: of many who want one at once, one gets it', async () => {
    await using hive = await open()
    const people = await Promise.all(['ada', 'bea', 'cleo', 'dora'].map((name) => hive.person(name)))
    const replies = await Promise.all(people.map((person, i) => rename(hive, person, i % 2 === 0 ? 'Same' : 'sAME')))
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 409, 409, 409])
    const refused = replies.find(({ status }) => status === 409)
    assert.equal(refused?.problem.code, 'username_taken')
  })

  test('the same username in another case is a change; the same one, or none, changes nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const mails = async () => (await hive.mails()).length
    const before = await mails()
    assert.equal((await rename(hive, ada, 'ada')).status, 200)
    assert.equal((await hive.call(accounts.updateMe, { token: ada.token, body: {} })).body.username, 'ada')
    assert.equal(await mails(), before)
    assert.equal((await rename(hive, ada, 'Ada')).body.username, 'Ada')
  })

  test('is changed by its person alone, and only what the contract names', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const body = { name: 'key', scopes: ['write' as const] }
    const { apiKey } = (await hive.call(apiKeys.createApiKey, { token: ada.token, body })).body
    const byKey = await hive.call(accounts.updateMe, { token: apiKey, body: { username: 'other' } })
    assert.equal(byKey.problem.code, 'permission_denied')
    for (const more of [{ isAdmin: true }, { email: 'x@example.net' }, { tier: 'pro' }, { username: 'a b' }]) {
      const reply = await hive.call(accounts.updateMe, { token: ada.token, body: more as object })
      assert.equal(reply.problem.code, 'invalid_request', JSON.stringify(more))
    }
  })

  test('says at once whether there is a second factor', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    assert.equal((await me(hive, ada)).mfa, false)
    await hive.enrolTotp(ada)
    assert.equal((await me(hive, ada)).mfa, true)
    const headers = await hive.stepUp(ada, mfa.removeTotp)
    assert.equal((await hive.call(mfa.removeTotp, { token: ada.token, headers })).status, 204)
    assert.equal((await me(hive, ada)).mfa, false)
  })
})
