import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'
import { audited, linksTo, linkTo } from './test-links.ts'

const register = (
  hive: Hive,
  username: string,
  email = `${username}@example.net`,
  more: { invitation?: string } = {},
) => hive.call(accounts.register, { body: { email, username, password, ...more } })
const confirm = (hive: Hive, token: string) => hive.call(credentials.confirmRegistration, { body: { token } })
const logIn = (hive: Hive, login: string) => hive.call(sessions.logIn, { body: { login, password } })
const proved = { config: { emailVerification: 'required' } } as const

describeHive('registering where addresses must be proved', (open) => {
  test('the link of the mail creates the account, its address proved', async () => {
    await using hive = await open(proved)
    await hive.admin()
    const reply = await register(hive, 'ada')
    assert.deepEqual([reply.status, reply.body], [202, undefined])
    assert.equal((await logIn(hive, 'ada')).status, 401)
    const created = await confirm(hive, await linkTo(hive, 'ada@example.net', 'register'))
    assert.equal(created.status, 201)
    const { user } = created.body
    assert.deepEqual([user.username, user.emailVerified, user.isAdmin], ['ada', true, false])
    assert.equal((await logIn(hive, 'ada')).status, 200)
    const [event] = await audited(hive, 'account.registered')
    assert.deepEqual([event?.outcome, event?.targetId], ['succeeded', user.id])
  })

  test('a link makes one account, of 50 uses at once and ever after', async () => {
    await using hive = await open(proved)
    await hive.admin()
    await register(hive, 'ada')
    const token = await linkTo(hive, 'ada@example.net', 'register')
    const statuses = (await Promise.all(Array.from({ length: 50 }, () => confirm(hive, token)))).map(
      ({ status }) => status,
    )
    assert.equal(statuses.filter((status) => status === 201).length, 1)
    assert.equal(statuses.filter((status) => status === 401).length, 49)
    assert.equal((await confirm(hive, token)).problem.code, 'invalid_link')
  })

  test('a link is good for an hour and for nothing else', async () => {
    await using hive = await open(proved)
    await hive.admin()
    await register(hive, 'ada')
    const token = await linkTo(hive, 'ada@example.net', 'register')
    assert.equal((await hive.call(credentials.verifyEmail, { body: { token } })).problem.code, 'invalid_link')
    const reset = await hive.call(credentials.resetPassword, { body: { token, newPassword: password } })
    assert.equal(reset.problem.code, 'invalid_link')
    hive.clock.advance(3_600_000)
    assert.equal((await confirm(hive, token)).problem.code, 'invalid_link')
  })

  test('a taken address gets the truth, and at most three times in half an hour', async () => {
    await using hive = await open(proved)
    await hive.admin()
    for (let i = 0; i < 8; i++) await register(hive, `name${i}`, 'queen@example.net')
    const told = (await hive.mails()).filter(({ subject }) => subject === 'You already have an account')
    assert.deepEqual(
      told.map(({ to }) => to),
      Array(3).fill('queen@example.net'),
    )
    assert.match(told[0]?.text ?? '', /queen/)
    assert.deepEqual(await linksTo(hive, 'queen@example.net', 'register'), [])
  })

  test('a taken username is told to the mailbox, and a name taken meanwhile to who holds the link', async () => {
    await using hive = await open(proved)
    await hive.admin()
    await register(hive, 'QUEEN', 'ada@example.net')
    assert.match((await hive.mailTo('ada@example.net')).text, /QUEEN, which is taken/)
    await register(hive, 'forager', 'ada@example.net')
    await register(hive, 'forager', 'eve@example.net')
    await register(hive, 'other', 'ada@example.net')
    const [first = '', second = ''] = await linksTo(hive, 'ada@example.net', 'register')
    assert.equal((await confirm(hive, await linkTo(hive, 'eve@example.net', 'register'))).status, 201)
    assert.equal((await confirm(hive, first)).problem.code, 'username_taken')
    assert.equal((await confirm(hive, second)).status, 201)
    assert.equal((await confirm(hive, first)).status, 409)
  })

  test('the password is judged before any mail, and kept only as a hash', async () => {
    await using hive = await open(proved)
    await hive.admin()
    const body = { email: 'ada@example.net', username: 'ada', password: 'short' }
    assert.equal((await hive.call(accounts.register, { body })).problem.code, 'weak_password')
    await register(hive, 'ada')
    const rows = await hive.ctx.db.kysely.selectFrom('oneTimeTokens').selectAll().execute()
    const token = await linkTo(hive, 'ada@example.net', 'register')
    for (const secret of [password, token]) assert.ok(!JSON.stringify(rows).includes(secret))
  })

  test('a link is worthless once registration is closed', async () => {
    await using hive = await open({ config: { ...proved.config, registration: 'closed' } })
    await hive.admin()
    assert.equal((await register(hive, 'ada')).problem.code, 'registration_closed')
    assert.equal((await confirm(hive, `hso_${'x'.repeat(43)}`)).problem.code, 'registration_closed')
  })
})

describeHive('registering with an invitation', (open) => {
  const invite = async (hive: Hive, email: string) => {
    const admin = await hive.admin()
    const { status } = await hive.call(teams.inviteToServer, { token: admin.token, body: { email } })
    assert.equal(status, 201)
    return linkTo(hive, email, 'invitation')
  }

  test('is the only way in where the policy says so, once, and proves the address it was sent to', async () => {
    await using hive = await open({ config: { ...proved.config, registration: 'invite' } })
    await hive.admin()
    assert.equal((await register(hive, 'ada')).problem.code, 'registration_closed')
    const invitation = await invite(hive, 'ada@example.net')
    const foreign = await register(hive, 'eve', 'eve@example.net', { invitation })
    assert.deepEqual([foreign.status, foreign.problem.code], [403, 'invalid_invitation'])
    const replies = await Promise.all(
      ['ada', 'ada2', 'ada3', 'ada4'].map((name) => register(hive, name, 'Ada@Example.net', { invitation })),
    )
    const created = replies.filter(({ status }) => status === 201)
    assert.equal(created.length, 1)
    assert.equal(created[0]?.body?.user.emailVerified, true)
    assert.equal((await register(hive, 'ada5', 'ada@example.net', { invitation })).problem.code, 'invalid_invitation')
  })

  test('opens no server that is closed', async () => {
    await using hive = await open({ config: { registration: 'closed' } })
    const invitation = await invite(hive, 'ada@example.net')
    assert.equal((await register(hive, 'ada', undefined, { invitation })).problem.code, 'registration_closed')
  })
})

describeHive('registering where addresses need not be proved', (open) => {
  test('creates the account at once and mails the link that proves its address', async () => {
    await using hive = await open()
    await hive.admin()
    const reply = await register(hive, 'ada')
    assert.deepEqual([reply.status, reply.body?.user.emailVerified], [201, false])
    const token = await linkTo(hive, 'ada@example.net', 'verify')
    assert.equal((await hive.call(credentials.verifyEmail, { body: { token } })).status, 204)
    const ada = await hive.logInAgain('ada')
    assert.equal((await hive.call(accounts.getMe, { token: ada.token })).body.emailVerified, true)
  })
})
