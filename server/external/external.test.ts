import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as contract from '@hivesync/contracts/external.ts'
import { eraseMe } from '@hivesync/contracts/privacy.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { startProvider, type TestProvider } from './test-provider.ts'

const redirectUri = 'http://127.0.0.1:7070/account/external'

describeHive('the external sign-in', (open) => {
  let hive: Hive
  let provider: TestProvider
  const people: Record<string, Record<string, unknown>> = {}
  const openWith = async (config: object = {}) => {
    const { issuer, clientId, clientSecret } = provider
    return open({ config: { oidc: { issuer, clientId, clientSecret, name: 'Test' }, ...config } })
  }
  before(async () => {
    provider = await startProvider(redirectUri, people)
    hive = await openWith()
    await hive.admin()
  })
  after(() => provider[Symbol.asyncDispose]())

  const vouchedFor = (email: string) => ({ email, email_verified: true })
  /** What a browser sends after the provider let this person in. */
  async function answerOf(person: string, server = hive, flow?: { url: string; flowToken: string }) {
    const { url, flowToken } = flow ?? (await server.call(contract.startExternalLogin)).body
    const back = await provider.browse(url, person)
    const part = (name: string) => back.searchParams.get(name) ?? ''
    assert.equal(`${back.origin}${back.pathname}`, redirectUri)
    return { flowToken, code: part('code'), state: part('state'), iss: part('iss') }
  }
  const finish = (body: Awaited<ReturnType<typeof answerOf>> & { invitation?: string }, server = hive) =>
    server.call(contract.finishExternalLogin, { body })
  async function enter(person: string, server = hive) {
    const { body } = await finish(await answerOf(person, server), server)
    assert.ok('user' in body)
    return body
  }
  async function localPerson(username: string, isVerified: boolean): Promise<Person> {
    const person = await hive.person(username)
    const change = { emailVerifiedAt: isVerified ? 1 : null }
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', person.userId).execute()
    return person
  }

  test('makes an account at the first login and finds it again by the provider’s subject, whatever the address is then', async () => {
    people.one = { ...vouchedFor('one@example.net'), preferred_username: 'One Person' }
    const first = await enter('one')
    assert.deepEqual([first.user.username, first.user.emailVerified], ['one-person', true])
    assert.equal((await hive.call(accounts.getMe, { token: first.accessToken })).status, 200)
    people.one = vouchedFor('another@example.net')
    assert.equal((await enter('one')).user.id, first.user.id)
  })

  test('gives nobody the account of another person with the same name', async () => {
    people.two = { ...vouchedFor('two@example.net'), preferred_username: 'one-person' }
    assert.match((await enter('two')).user.username, /^one-person-\d+$/)
  })

  test('links an existing account over an address that both sides have proved, and tells its owner', async () => {
    const ada = await localPerson('ada', true)
    people.ada = vouchedFor('ADA@example.net')
    assert.equal((await enter('ada')).user.id, ada.userId)
    const mails = (await hive.mails()).filter((mail) => mail.to === 'ada@example.net')
    assert.ok(mails.some((mail) => mail.text.includes('external sign-in')))
  })

  test('gives who registered beforehand with somebody else’s address nothing of theirs', async () => {
    await localPerson('squatter', false)
    people.victim = vouchedFor('squatter@example.net')
    assert.equal((await finish(await answerOf('victim'))).problem.code, 'external_link_required')
  })

  test('believes no address that the provider does not vouch for', async () => {
    await localPerson('bea', true)
    for (const verified of [false, undefined, 'true', 1]) {
      people.liar = { email: 'bea@example.net', email_verified: verified }
      assert.equal((await finish(await answerOf('liar'))).problem.code, 'external_email_unverified')
    }
  })

  test('takes no address that nobody could have here, however well it is vouched for', async () => {
    for (const email of [
      'nobody',
      'a,b@example.net',
      'a\nb@example.net',
      `${'a'.repeat(300)}@example.net`,
      '\ud800@example.net',
    ]) {
      people.odd = vouchedFor(email)
      assert.equal((await finish(await answerOf('odd'))).problem.code, 'external_email_unverified')
    }
  })

  test('passes the same gate: who has a second factor is asked for it', async () => {
    const cleo = await localPerson('cleo', true)
    people.cleo = vouchedFor('cleo@example.net')
    await enter('cleo')
    await hive.enrolTotp(cleo)
    const { body } = await finish(await answerOf('cleo'))
    assert.ok('mfaRequired' in body && body.methods.includes('totp'))
  })

  test('lets nobody in who was deactivated', async () => {
    people.dan = vouchedFor('dan@example.net')
    const dan = await enter('dan')
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', dan.user.id).execute()
    assert.equal((await finish(await answerOf('dan'))).problem.code, 'invalid_external_login')
  })

  test('accepts an answer once, from the browser that asked, with its own state and issuer', async () => {
    people.eli = vouchedFor('eli@example.net')
    const answer = await answerOf('eli')
    const other = await answerOf('eli')
    const refused = async (body: typeof answer) => (await finish(body)).problem.code
    assert.equal(await refused({ ...other, flowToken: (await answerOf('eli')).flowToken }), 'invalid_external_login')
    assert.equal(await refused({ ...(await answerOf('eli')), state: other.state }), 'invalid_external_login')
    assert.equal(
      await refused({ ...(await answerOf('eli')), iss: 'https://other.example.net' }),
      'invalid_external_login',
    )
    assert.equal(await refused({ ...(await answerOf('eli')), code: 'made-up' }), 'invalid_external_login')
    const replies = await Promise.all(Array.from({ length: 20 }, () => finish(answer)))
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
    assert.equal(await refused(answer), 'invalid_external_login')
    hive.clock.advance(11 * 60_000)
    assert.equal(await refused(other), 'invalid_external_login')
  })

  test('makes no account where registration is closed, and with an invitation only for its addressee', async () => {
    const closed = await openWith({ registration: 'closed' })
    await closed.admin()
    people.fay = vouchedFor('fay@example.net')
    const reply = await finish(await answerOf('fay', closed), closed)
    assert.equal(reply.problem.code, 'registration_closed')
  })

  test('is linked and unlinked from within, with a fresh proof, and never leaves the account without a way in', async () => {
    const gus = await localPerson('gus', false)
    people.gus = vouchedFor('gus-elsewhere@example.net')
    const headers = await hive.stepUp(gus, contract.startExternalLink, {})
    const flow = (await hive.call(contract.startExternalLink, { token: gus.token, headers })).body
    const link = (who: Person, body: Awaited<ReturnType<typeof answerOf>>) =>
      hive.call(contract.finishExternalLink, { token: who.token, body })
    const linked = await link(gus, await answerOf('gus', hive, flow))
    assert.equal(linked.status, 201)
    assert.equal((await enter('gus')).user.id, gus.userId)
    const params = { externalIdentityId: linked.body.id }
    const remove = async () => {
      const proof = await hive.stepUp(gus, contract.removeExternalIdentity, { params })
      return hive.call(contract.removeExternalIdentity, { token: gus.token, params, headers: proof })
    }
    assert.equal((await remove()).status, 204)
    assert.equal((await remove()).problem.code, 'external_identity_not_found')
  })

  test('finishes no link in another session, nor a link as a login: it would open one person’s account to another', async () => {
    const hal = await localPerson('hal', false)
    people.hal = vouchedFor('hal-elsewhere@example.net')
    const begin = async () => {
      const headers = await hive.stepUp(hal, contract.startExternalLink, {})
      return (await hive.call(contract.startExternalLink, { token: hal.token, headers })).body
    }
    const eve = await hive.person('eve')
    const body = await answerOf('hal', hive, await begin())
    const stolen = await hive.call(contract.finishExternalLink, { token: eve.token, body })
    assert.equal(stolen.problem.code, 'invalid_external_login')
    assert.equal((await finish(await answerOf('hal', hive, await begin()))).problem.code, 'invalid_external_login')
    const login = await hive.call(contract.finishExternalLink, { token: hal.token, body: await answerOf('hal') })
    assert.equal(login.problem.code, 'invalid_external_login')
  })

  test('says so when the provider is away, and when there is none', async () => {
    const away = await startProvider(redirectUri, people)
    await away[Symbol.asyncDispose]()
    const { issuer, clientId, clientSecret } = away
    const server = await open({ config: { oidc: { issuer, clientId, clientSecret, name: 'Away' } } })
    assert.equal((await server.call(contract.startExternalLogin)).problem.code, 'external_unavailable')
    const none = await open()
    assert.equal((await none.call(contract.startExternalLogin)).problem.code, 'external_not_configured')
    assert.equal((await none.call(contract.getExternalProvider)).body.provider, null)
  })

  test('finishes no link whose session was ended while the provider was asked', async () => {
    const ida = await localPerson('ida', true)
    const owner = await hive.logInAgain('ida')
    people.ida = vouchedFor('ida-elsewhere@example.net')
    const headers = await hive.stepUp(ida, contract.startExternalLink, {})
    const flow = (await hive.call(contract.startExternalLink, { token: ida.token, headers })).body
    const body = await answerOf('ida', hive, flow)
    provider.meanwhile(() => hive.call(sessions.revokeOtherSessions, { token: owner.token }))
    const reply = await hive.call(contract.finishExternalLink, { token: ida.token, body })
    assert.equal(reply.problem.code, 'session_revoked')
    assert.deepEqual((await hive.call(contract.listExternalIdentities, { token: owner.token })).body.items, [])
  })

  test('leaves no identity to an account that was erased at the same moment', async () => {
    const jan = await localPerson('jan', true)
    people.jan = vouchedFor('jan@example.net')
    const answers = await Promise.all(Array.from({ length: 10 }, () => answerOf('jan')))
    const headers = await hive.stepUp(jan, eraseMe, {})
    const erased = hive.call(eraseMe, { token: jan.token, headers })
    await Promise.all([...answers.map((answer) => finish(answer)), erased])
    assert.equal((await erased).status, 204)
    const left = await hive.ctx.db.kysely
      .selectFrom('externalIdentities')
      .select('id')
      .where('userId', '=', jan.userId)
      .execute()
    assert.deepEqual(left, [])
  })

  test('takes an address and the word that it is proved from one statement, not from two', async () => {
    await localPerson('kim', true)
    people.kim = { idToken: { email: 'kim@example.net' }, ...vouchedFor('kims-own@example.net') }
    const { user } = await enter('kim')
    assert.equal(user.email, 'kims-own@example.net')
  })

  test('remembers every refusal: an answer that does not hold, a provider that vouches for nothing, a closed door', async () => {
    const count = async (server: Hive) => {
      const rows = await server.ctx.db.kysely
        .selectFrom('auditEvents')
        .select('details')
        .where('action', '=', 'session.refused')
        .where('outcome', '=', 'refused')
        .execute()
      return rows.filter((row) => row.details.includes('"method":"external"')).length
    }
    people.lea = { email: 'lea@example.net', email_verified: false }
    const before = await count(hive)
    await finish({ ...(await answerOf('lea')), state: 'made-up' })
    await finish(await answerOf('lea'))
    const spent = await answerOf('lea')
    await finish(spent)
    await finish(spent)
    assert.equal((await count(hive)) - before, 4)
    const closed = await openWith({ registration: 'closed' })
    await closed.admin()
    people.moe = vouchedFor('moe@example.net')
    await finish(await answerOf('moe', closed), closed)
    assert.equal(await count(closed), 1)
  })

  test('believes no ID token that is not signed with a key of the provider', async () => {
    await using forger = await startProvider(redirectUri, people)
    const { issuer, clientId, clientSecret } = forger
    const server = await open({ config: { oidc: { issuer, clientId, clientSecret, name: 'Forger' } } })
    await server.admin()
    people.nia = vouchedFor('nia@example.net')
    const genuine = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] }
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    forger.publish({ ...genuine.keys[0], ...publicKey.export({ format: 'jwk' }) })
    const { url, flowToken } = (await server.call(contract.startExternalLogin)).body
    const back = await forger.browse(url, 'nia')
    const [code = '', state = ''] = ['code', 'state'].map((name) => back.searchParams.get(name) ?? '')
    const body = { flowToken, code, state, iss: issuer }
    assert.equal((await finish(body, server)).problem.code, 'invalid_external_login')
  })
})
