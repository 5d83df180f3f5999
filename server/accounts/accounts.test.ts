import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Identities, identitiesOn, password } from '../../test/harness/identities.ts'
import { ensureSetupToken } from './accounts.ts'

const setupPath = '/api/v1/setup'
const registerPath = '/api/v1/auth/register'
const account = (username: string, more: object = {}) => ({
  email: `${username}@hive.test`,
  username,
  password,
  ...more,
})

identitiesOn((open) => {
  describe('setup', () => {
    test('a wrong token creates nobody, and the attempt is remembered', async () => {
      const hive = await open()
      await ensureSetupToken(hive.ctx)
      const reply = await hive.call('POST', setupPath, { body: { setupToken: 'x'.repeat(43), ...account('root') } })
      assert.equal(reply.status, 401)
      assert.equal(reply.body.code, 'invalid_setup_token')
      const [event] = await hive.audited('account.set_up')
      assert.deepEqual([event?.outcome, event?.details], ['refused', '{"reason":"invalid_setup_token"}'])
    })

    test('before any token was made, none is right', async () => {
      const hive = await open()
      for (const setupToken of ['null', 'undefined', '0']) {
        const reply = await hive.call('POST', setupPath, { body: { setupToken, ...account('root') } })
        assert.equal(reply.body.code, 'invalid_setup_token')
      }
    })

    test('a new start makes the token printed before worthless', async () => {
      const hive = await open()
      const first = await ensureSetupToken(hive.ctx)
      const second = await ensureSetupToken(hive.ctx)
      assert.notEqual(first, second)
      const stale = await hive.call('POST', setupPath, { body: { setupToken: first, ...account('root') } })
      assert.equal(stale.body.code, 'invalid_setup_token')
      const good = await hive.call('POST', setupPath, { body: { setupToken: second, ...account('root') } })
      assert.equal(good.status, 201)
      assert.equal((good.body.user as { isAdmin: boolean }).isAdmin, true)
      assert.equal(await ensureSetupToken(hive.ctx), null)
    })

    test('a configured token stays the same, and only its hash is stored', async () => {
      const setupToken = 'a-setup-token-that-the-operator-chose-0123456789'
      const hive = await open({ config: { setupToken } })
      assert.equal(await ensureSetupToken(hive.ctx), setupToken)
      assert.equal(await ensureSetupToken(hive.ctx), setupToken)
      const stored = JSON.stringify(await hive.ctx.db.kysely.selectFrom('setup').selectAll().execute())
      assert.ok(!stored.includes(setupToken))
      assert.equal((await hive.call('POST', setupPath, { body: { setupToken, ...account('root') } })).status, 201)
    })

    test('of several setups at once exactly one makes an admin', async () => {
      const hive = await open()
      const setupToken = await ensureSetupToken(hive.ctx)
      const names = ['anna', 'bert', 'carl', 'dora', 'emil', 'fred']
      const replies = await Promise.all(
        names.map((name) => hive.call('POST', setupPath, { body: { setupToken, ...account(name) } })),
      )
      assert.equal(replies.filter((reply) => reply.status === 201).length, 1)
      assert.equal(replies.filter((reply) => reply.body.code === 'already_set_up').length, names.length - 1)
      const users = await hive.ctx.db.kysely.selectFrom('users').select('adminSince').execute()
      assert.equal(users.length, 1)
      const [row] = await hive.ctx.db.kysely.selectFrom('setup').selectAll().execute()
      assert.equal(row?.tokenHash, null)
    })

    test('a weak password does not spend the token', async () => {
      const hive = await open()
      const setupToken = await ensureSetupToken(hive.ctx)
      const weak = await hive.call('POST', setupPath, {
        body: { setupToken, ...account('root', { password: 'too short' }) },
      })
      assert.equal(weak.body.code, 'weak_password')
      assert.equal((await hive.call('POST', setupPath, { body: { setupToken, ...account('root') } })).status, 201)
    })
  })

  describe('registration', () => {
    let hive: Identities
    before(async () => {
      hive = await open()
      await hive.setUp()
    })
    const register = (body: object) => hive.call('POST', registerPath, { body })

    test('is refused until the server is set up', async () => {
      const fresh = await open()
      const reply = await fresh.call('POST', registerPath, { body: account('early') })
      assert.equal(reply.status, 409)
      assert.equal(reply.body.code, 'setup_required')
    })

    test('is refused where it is closed, and that is remembered', async () => {
      const closed = await open({ config: { registration: 'closed' } })
      await closed.setUp()
      const reply = await closed.call('POST', registerPath, { body: account('guest') })
      assert.equal(reply.status, 403)
      assert.equal(reply.body.code, 'registration_closed')
      const [event] = await closed.audited('account.registered')
      assert.deepEqual([event?.outcome, event?.details], ['refused', '{"reason":"registration_closed"}'])
    })

    test('makes a person who is no admin, with a personal team that the person owns', async () => {
      const reply = await register(account('Nadia'))
      assert.equal(reply.status, 201)
      const user = reply.body.user as Record<string, unknown>
      assert.deepEqual([user.username, user.isAdmin, user.isActive, user.tier], ['Nadia', false, true, 'free'])
      const teams = await hive.ctx.db.kysely
        .selectFrom('teamMembers')
        .innerJoin('teams', 'teams.id', 'teamMembers.teamId')
        .select(['teamMembers.role', 'teams.personalUserId'])
        .where('teamMembers.userId', '=', String(user.id))
        .execute()
      assert.deepEqual(teams, [{ role: 'owner', personalUserId: user.id }])
      const events = await hive.audited('account.registered')
      assert.deepEqual(events.map((event) => event.targetId).includes(user.id), true)
    })

    test('keeps names as typed and unique without regard to case and composition', async () => {
      assert.equal((await register(account('Oskar', { email: 'Os\u00e9@Hive.test' }))).status, 201)
      const sameName = await register(account('oSKAR', { email: 'other@hive.test' }))
      assert.deepEqual([sameName.status, sameName.body.code], [409, 'username_taken'])
      const sameEmail = await register(account('petra', { email: 'ose\u0301@hive.TEST' }))
      assert.deepEqual([sameEmail.status, sameEmail.body.code], [409, 'email_taken'])
      const { user } = await hive.logIn('OSKAR')
      assert.deepEqual([user.username, user.email], ['Oskar', 'Os\u00e9@Hive.test'])
    })

    test('of two people at once with one name exactly one gets it', async () => {
      const replies = await Promise.all([1, 2, 3, 4].map(() => register(account('quick'))))
      assert.deepEqual(replies.map((reply) => reply.status).sort(), [201, 409, 409, 409])
    })

    test('says what is wrong with a password', async () => {
      const reply = await register(account('robert', { password: 'password of Robert' }))
      assert.deepEqual([reply.status, reply.body.code], [400, 'weak_password'])
      assert.deepEqual(reply.body.fields, [{ path: 'body/password', message: 'must not contain the username' }])
    })

    test('refuses names outside the contract and members that make an admin', async () => {
      for (const body of [
        account('ab'),
        account('a b c'),
        account('-'.repeat(51)),
        account('sasha', { email: 'no-at-sign' }),
        account('sasha', { email: 'two words@hive.test' }),
        account('sasha', { email: 'lone\ud800@hive.test' }),
        account('sasha', { isAdmin: true }),
        account('sasha', { adminSince: 1 }),
      ]) {
        assert.equal((await register(body)).body.code, 'invalid_request', JSON.stringify(body))
      }
    })

    test('leaves no password, email or token in logs and audit', async () => {
      const canary = 'canary-9f8e7d-passphrase'
      await register(account('canaryperson', { password: canary }))
      await register(account('canaryperson', { password: canary }))
      const audit = JSON.stringify(await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute())
      for (const text of [audit, hive.logLines.join('\n')]) {
        assert.ok(!text.includes(canary))
        assert.ok(!text.includes('@hive.test'))
      }
    })
  })

  test('me is the person behind the token', async () => {
    const hive = await open()
    const root = await hive.setUp()
    const reply = await hive.call('GET', '/api/v1/auth/me', { token: root.token })
    assert.deepEqual([reply.status, reply.body.id, reply.body.isAdmin], [200, root.userId, true])
    assert.equal((await hive.call('GET', '/api/v1/auth/me')).body.code, 'authentication_required')
  })
})
