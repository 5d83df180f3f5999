import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as contract from '@hivesync/contracts/admin.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as credentials from '@hivesync/contracts/credentials.ts'
import type { BodyOf, Endpoint, ParamsOf } from '@hivesync/contracts/endpoint.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'

describeHive('an admin', (open) => {
  let hive: Hive
  let admin: Person
  before(async () => {
    hive = await open()
    admin = await hive.admin()
  })

  /** A sensitive operation, with the proof it needs. */
  async function act<const E extends Endpoint>(
    who: Person,
    endpoint: E,
    request: { params: ParamsOf<E>; body?: BodyOf<E> },
  ) {
    const headers = await hive.stepUp(who, endpoint, request)
    return hive.call(endpoint, { token: who.token, ...request, headers })
  }
  const me = (token: string) => hive.call(accounts.getMe, { token })

  test('finds people by the beginning of a name or the whole address, and sees no whole address in the list', async () => {
    const zoe = await hive.person('zoe_w')
    const find = async (q: string) => (await hive.call(contract.listUsers, { token: admin.token, query: { q } })).body
    for (const q of ['zoe', 'ZOE_', 'Zoe_w@example.net']) {
      const { items } = await find(q)
      assert.deepEqual(
        items.map((user) => [user.id, user.email]),
        [[zoe.userId, 'z…@example.net']],
      )
    }
    for (const q of ['zoexw', 'oe', '%', 'zoe@example.net']) assert.deepEqual((await find(q)).items, [])
    const all = (await hive.call(contract.listUsers, { token: admin.token, query: { limit: '1' } })).body
    assert.deepEqual([all.items.length, all.nextCursor], [1, zoe.userId])
  })

  test('sees of one person what is needed, and nothing that opens the account', async () => {
    const yan = await hive.person('yan')
    const reply = await hive.call(contract.getUser, { token: admin.token, params: { userId: yan.userId } })
    const { email, hasPassword, sessions: count, factors } = reply.body
    assert.deepEqual([email, hasPassword, count, factors], ['yan@example.net', true, 1, []])
    assert.doesNotMatch(JSON.stringify(reply.body), /argon2|hs_|hsr_/)
  })

  test('shuts a person out: sessions, refresh and keys are refused from the next request on, and a new login', async () => {
    const mallory = await hive.person('mallory')
    const { apiKey } = (
      await hive.call(apiKeys.createApiKey, { token: mallory.token, body: { name: 'k', scopes: ['read'] } })
    ).body
    const of = { params: { userId: mallory.userId } }
    assert.equal((await act(admin, contract.deactivateUser, of)).body.isActive, false)
    assert.equal((await me(mallory.token)).problem.code, 'session_revoked')
    assert.equal((await me(apiKey)).problem.code, 'invalid_token')
    const refreshed = await hive.call(sessions.refresh, { body: { refreshToken: mallory.refreshToken } })
    assert.equal(refreshed.problem.code, 'invalid_refresh_token')
    await assert.rejects(hive.logInAgain('mallory'))
    assert.equal((await act(admin, contract.activateUser, of)).body.isActive, true)
    // What had ended stays ended; the key was never revoked.
    assert.equal((await me(mallory.token)).status, 401)
    assert.equal((await me(apiKey)).status, 200)
    assert.equal((await me((await hive.logInAgain('mallory')).token)).status, 200)
  })

  test('gives and takes the role, effective on the next request', async () => {
    const nina = await hive.person('nina')
    const of = { params: { userId: nina.userId } }
    const list = () => hive.call(contract.listUsers, { token: nina.token })
    assert.equal((await list()).status, 403)
    await act(admin, contract.setUserRole, { ...of, body: { isAdmin: true } })
    assert.equal((await list()).status, 200)
    const key = { name: 'k', scopes: ['admin' as const] }
    const { apiKey } = (await hive.call(apiKeys.createApiKey, { token: nina.token, body: key })).body
    assert.equal((await hive.call(contract.listUsers, { token: apiKey })).status, 200)
    await act(admin, contract.setUserRole, { ...of, body: { isAdmin: false } })
    assert.equal((await list()).status, 403)
    assert.equal((await hive.call(contract.listUsers, { token: apiKey })).status, 403)
  })

  test('is the last one at no time: neither demoted nor deactivated, also when two do it to each other', async () => {
    const server = await open()
    const first = await server.admin()
    const second = await server.person('second')
    const one = { params: { userId: first.userId } }
    const proof = (who: Person, endpoint: Endpoint, request: object) => server.stepUp(who, endpoint, request as never)
    const demote = async (who: Person, userId: string) => {
      const request = { params: { userId }, body: { isAdmin: false } }
      const headers = await proof(who, contract.setUserRole, request)
      return () => server.call(contract.setUserRole, { token: who.token, ...request, headers })
    }
    assert.equal((await (await demote(first, first.userId))()).problem.code, 'last_admin')
    const headers = await proof(first, contract.deactivateUser, one)
    const gone = await server.call(contract.deactivateUser, { token: first.token, ...one, headers })
    assert.equal(gone.problem.code, 'last_admin')
    const promote = { params: { userId: second.userId }, body: { isAdmin: true } }
    const promoted = { token: first.token, ...promote, headers: await proof(first, contract.setUserRole, promote) }
    assert.equal((await server.call(contract.setUserRole, promoted)).status, 200)
    const both = [await demote(first, second.userId), await demote(second, first.userId)]
    const replies = await Promise.all(both.map((run) => run()))
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
    const admins = await server.ctx.db.kysely
      .selectFrom('users')
      .select('id')
      .where('adminSince', 'is not', null)
      .execute()
    assert.equal(admins.length, 1)
  })

  test('ends all sessions of a person', async () => {
    const olga = await hive.person('olga')
    const again = await hive.logInAgain('olga')
    const of = { params: { userId: olga.userId } }
    assert.equal((await act(admin, contract.endUserSessions, of)).status, 204)
    for (const { token } of [olga, again]) assert.equal((await me(token)).problem.code, 'session_revoked')
  })

  test('starts a reset by mail, and neither chooses nor sees the password', async () => {
    const pia = await hive.person('pia')
    const of = { params: { userId: pia.userId } }
    assert.equal((await act(admin, contract.startUserReset, of)).status, 202)
    const [, token = ''] = /#reset=(\S+)/.exec((await hive.mailTo('pia@example.net')).text) ?? []
    const body = { token, newPassword: 'a quite different sentence' }
    assert.equal((await hive.call(credentials.resetPassword, { body })).status, 204)
    assert.equal((await me(pia.token)).problem.code, 'session_revoked')
    const missing = { params: { userId: '01890000-0000-7000-8000-000000000000' } }
    assert.equal((await act(admin, contract.startUserReset, missing)).problem.code, 'user_not_found')
  })

  test('needs a fresh proof for each of it, and no key has one', async () => {
    const { userId } = await hive.person('olga')
    const key = { name: 'k', scopes: ['admin' as const] }
    const { apiKey } = (await hive.call(apiKeys.createApiKey, { token: admin.token, body: key })).body
    for (const token of [admin.token, apiKey]) {
      const reply = await hive.call(contract.deactivateUser, { token, params: { userId } })
      assert.equal(reply.problem.code, token === apiKey ? 'permission_denied' : 'step_up_required')
    }
  })

  test('leaves no way to enrol a worker behind: an enrolment falls with the role or the account of who made it', async () => {
    const body = { isAdmin: false }
    for (const [name, end] of [
      ['former', (of: { params: { userId: string } }) => act(admin, contract.setUserRole, { ...of, body })],
      ['ousted', (of: { params: { userId: string } }) => act(admin, contract.deactivateUser, of)],
    ] as const) {
      const person = await hive.person(name)
      const of = { params: { userId: person.userId } }
      await act(admin, contract.setUserRole, { ...of, body: { isAdmin: true } })
      const { enrolmentToken } = (await hive.call(workers.createEnrolment, { token: person.token, body: {} })).body
      assert.equal((await end(of)).status, 200)
      const { publicKey } = generateEncodedKeyPair()
      const enrolled = await hive.call(protocol.enrolWorker, { body: { enrolmentToken, name: 'late', publicKey } })
      assert.equal(enrolled.problem.code, 'invalid_enrolment_token', name)
    }
  })

  test('lets in again whoever is in already without any effect on them', async () => {
    const rita = await hive.person('rita')
    assert.equal((await act(admin, contract.activateUser, { params: { userId: rita.userId } })).body.isActive, true)
    assert.equal((await me(rita.token)).status, 200)
  })
})
