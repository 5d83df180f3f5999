import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { describeAct } from '../../test/harness/proofs.ts'
import { nobody } from '../platform/actor.ts'
import { addPasskey, relyingPartyOf } from './passkeys.ts'
import { createAuthenticator, type Lie, type SoftPasskey } from './test-authenticator.ts'

const originOf = (hive: Hive): string => relyingPartyOf(hive.ctx.config).origins[0] ?? ''

describeHive('a passkey', (open) => {
  async function begin(hive: Hive, person: Person) {
    const headers = await hive.stepUp(person, contract.startPasskey)
    return (await hive.call(contract.startPasskey, { token: person.token, headers })).body
  }
  const add = (hive: Hive, person: Person, challengeToken: string, credential: contract.NewPasskey, name = 'phone') =>
    hive.call(contract.addPasskey, { token: person.token, body: { challengeToken, credential, name } })
  /** A passkey of the person, added as a browser would. */
  async function enrol(hive: Hive, person: Person, device = createAuthenticator(originOf(hive))) {
    const { challengeToken, publicKey } = await begin(hive, person)
    const { credential, passkey } = device.create(publicKey)
    const { factor, recoveryCodes } = (await add(hive, person, challengeToken, credential)).body
    return { passkey, factor, recoveryCodes }
  }
  async function logIn(hive: Hive, passkey: SoftPasskey, lie: Lie = {}) {
    const { challengeToken, publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
    const credential = passkey.use(publicKey, lie)
    return hive.call(sessions.logInWithPasskey, { body: { challengeToken, credential } })
  }
  async function pending(hive: Hive, login: string): Promise<string> {
    const reply = (await hive.call(sessions.logIn, { body: { login, password } })).body
    assert.ok('mfaRequired' in reply)
    return reply.mfaToken
  }
  const remove = async (hive: Hive, person: Person, factorId: string, passkey: SoftPasskey) => {
    const params = { factorId }
    const headers = await stepUpWith(hive, person, passkey, contract.removePasskey, { params })
    return hive.call(contract.removePasskey, { token: person.token, params, headers })
  }
  async function stepUpWith(
    hive: Hive,
    { token }: Person,
    passkey: SoftPasskey,
    endpoint: Parameters<typeof describeAct>[0],
    act: { params?: unknown; body?: unknown },
  ): Promise<Record<string, string>> {
    const said = describeAct(endpoint, act)
    const { passkey: challenge } = (await hive.call(contract.startStepUp, { token, body: said })).body
    assert.ok(challenge)
    const { challengeToken, publicKey } = challenge
    const body = { ...said, method: 'passkey' as const, challengeToken, credential: passkey.use(publicKey) }
    return { 'step-up': (await hive.call(contract.stepUp, { token, body })).body.stepUpToken }
  }

  test('signs in alone, as two factors, and names nobody beforehand', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { passkey, recoveryCodes } = await enrol(hive, ada)
    assert.equal(recoveryCodes?.length, 10)
    const { publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
    assert.deepEqual(publicKey.allowCredentials, [])
    assert.equal(publicKey.userVerification, 'required')
    assert.ok(Buffer.from(publicKey.challenge, 'base64url').length >= 16)
    const reply = (await logIn(hive, passkey)).body
    assert.deepEqual([reply.user.id, reply.session.methods], [ada.userId, ['pop', 'user', 'mfa']])
    assert.equal((await hive.call(sessions.listSessions, { token: reply.accessToken })).status, 200)
    assert.equal((await logIn(hive, passkey)).status, 200)
  })

  test('is made for this server’s name, with user verification, and without a word about the device', async () => {
    await using hive = await open({ config: { publicUrl: 'https://hive.example.net' } })
    const { publicKey } = await begin(hive, await hive.person('ada'))
    assert.deepEqual(publicKey.rp, { id: 'hive.example.net', name: 'HiveSync' })
    assert.deepEqual(publicKey.authenticatorSelection, {
      residentKey: 'required',
      requireResidentKey: true,
      userVerification: 'required',
    })
    assert.equal(publicKey.attestation, 'none')
    assert.ok(!Buffer.from(publicKey.user.id, 'base64url').toString('latin1').includes('ada'))
    assert.equal((await enrol(hive, await hive.person('eve'))).factor.kind, 'passkey')
  })

  test('is not added by a wrong ceremony', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const lies: Record<string, Lie> = {
      'without user verification': { userVerified: false },
      'without presence': { userPresent: false, userVerified: false },
      'another origin': { origin: 'https://evil.example.net' },
      'the same host at another port': { origin: 'http://localhost:1' },
      'another server’s name': { rpId: 'evil.example.net' },
      'a challenge of its own': { challenge: 'A'.repeat(43) },
      'the answer to a login': { type: 'webauthn.get' },
    }
    for (const [what, lie] of Object.entries(lies)) {
      const { challengeToken, publicKey } = await begin(hive, ada)
      const { credential } = createAuthenticator(originOf(hive)).create(publicKey, lie)
      const reply = await add(hive, ada, challengeToken, credential)
      assert.deepEqual([reply.status, reply.problem.code], [401, 'invalid_passkey'], what)
    }
    const { challengeToken, publicKey } = await begin(hive, ada)
    const { credential } = createAuthenticator(originOf(hive)).create(publicKey)
    const renamed = { ...credential, id: 'A'.repeat(43), rawId: 'A'.repeat(43) }
    assert.equal((await add(hive, ada, challengeToken, renamed)).problem.code, 'invalid_passkey')
    assert.deepEqual((await hive.call(contract.listFactors, { token: ada.token })).body.items, [])
  })

  test('a statement about the device is not believed, and not even read', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    // Formats for which a verifier would parse certificates and fetch what they name; here the statement is `{ x5c: [h'00'] }`.
    const attStmt = Buffer.from('a163783563814100', 'hex')
    for (const fmt of ['packed', 'apple', 'made-up']) {
      const { challengeToken, publicKey } = await begin(hive, ada)
      const { credential, passkey } = createAuthenticator(originOf(hive)).create(publicKey, { fmt, attStmt })
      assert.equal((await add(hive, ada, challengeToken, credential)).status, 201, fmt)
      assert.equal((await logIn(hive, passkey)).status, 200)
      // The next one is added as somebody without a second factor, whose password steps up.
      await hive.ctx.db.kysely.deleteFrom('factors').execute()
    }
  })

  test('is added once per challenge, only in the session that asked, and only for five minutes', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const again = await hive.logInAgain('ada')
    const device = createAuthenticator(originOf(hive))
    const first = await begin(hive, ada)
    const { credential } = device.create(first.publicKey)
    assert.equal((await add(hive, again, first.challengeToken, credential)).problem.code, 'invalid_passkey')
    assert.equal((await add(hive, ada, first.challengeToken, credential)).problem.code, 'invalid_passkey')

    const second = await begin(hive, ada)
    const { credential: made } = device.create(second.publicKey)
    const replies = await Promise.all(Array.from({ length: 50 }, () => add(hive, ada, second.challengeToken, made)))
    assert.equal(replies.filter(({ status }) => status === 201).length, 1)
    assert.equal((await hive.call(contract.listFactors, { token: ada.token })).body.items.length, 1)

    const eve = await hive.person('eve')
    const late = await begin(hive, eve)
    hive.clock.advance(5 * 60_000)
    const reply = await add(hive, eve, late.challengeToken, device.create(late.publicKey).credential)
    assert.equal(reply.problem.code, 'invalid_passkey')
  })

  test('is not added by a request that was under way when its session ended', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const intruder = await hive.logInAgain('ada')
    const { challengeToken, publicKey } = await begin(hive, intruder)
    const { credential } = createAuthenticator(originOf(hive)).create(publicKey)
    const { userId, sessionId } = intruder
    const params = { sessionId }
    assert.equal((await hive.call(sessions.revokeSession, { token: ada.token, params })).status, 204)
    // The credentials are proved before the body is read, which may take its time.
    const actor = { ...nobody, kind: 'user' as const, id: userId, userId, sessionId, requestId: null, ip: null }
    const late = addPasskey(hive.ctx, actor, { challengeToken, credential, name: 'theirs' })
    await assert.rejects(late, { code: 'session_revoked' })
    assert.deepEqual((await hive.call(contract.listFactors, { token: ada.token })).body.items, [])
  })

  test('belongs to one person: nobody else can add one of the same id', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const { passkey } = await enrol(hive, ada)
    const { challengeToken, publicKey } = await begin(hive, eve)
    const id = Buffer.from(passkey.id, 'base64url')
    const { credential } = createAuthenticator(originOf(hive)).create(publicKey, { id })
    assert.equal((await add(hive, eve, challengeToken, credential)).problem.code, 'factor_exists')
    assert.equal((await logIn(hive, passkey)).body.user.id, ada.userId)
  })

  test('does not sign in by a wrong ceremony', async () => {
    await using hive = await open()
    const { passkey } = await enrol(hive, await hive.person('ada'))
    const lies: Record<string, Lie> = {
      'without user verification': { userVerified: false },
      'without presence': { userPresent: false, userVerified: false },
      'another origin': { origin: 'https://evil.example.net' },
      'another server’s name': { rpId: 'evil.example.net' },
      'a challenge of its own': { challenge: 'A'.repeat(43) },
      'the answer to a registration': { type: 'webauthn.create' },
      'another key': { otherKey: true },
      'another person’s handle': { userHandle: 'A'.repeat(43) },
      'no handle, though nobody was named': { userHandle: null },
    }
    for (const [what, lie] of Object.entries(lies)) {
      const reply = await logIn(hive, passkey, lie)
      assert.deepEqual([reply.status, reply.problem.code], [401, 'invalid_passkey'], what)
    }
    assert.equal((await logIn(hive, passkey)).status, 200)
  })

  test('an unknown one is refused like a wrong one, and both are remembered', async () => {
    await using hive = await open()
    const { passkey } = await enrol(hive, await hive.person('ada'))
    const { publicKey } = await begin(hive, await hive.person('eve'))
    const stranger = createAuthenticator(originOf(hive)).create(publicKey).passkey
    const [unknown, wrong] = [await logIn(hive, stranger), await logIn(hive, passkey, { otherKey: true })]
    const shown = ({ status, problem }: typeof unknown) => ({ status, problem: { ...problem, requestId: '' } })
    assert.deepEqual(shown(unknown), shown(wrong))
    const refused = hive.ctx.db.kysely.selectFrom('auditEvents').select('id').where('action', '=', 'session.refused')
    assert.equal((await refused.execute()).length, 2)
  })

  test('an answer counts once, of 50 at once, and only for five minutes', async () => {
    await using hive = await open()
    const { passkey } = await enrol(hive, await hive.person('ada'))
    const { challengeToken, publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
    const body = { challengeToken, credential: passkey.use(publicKey) }
    const replies = await Promise.all(Array.from({ length: 50 }, () => hive.call(sessions.logInWithPasskey, { body })))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    const late = (await hive.call(sessions.startPasskeyLogin)).body
    hive.clock.advance(5 * 60_000)
    const lateBody = { challengeToken: late.challengeToken, credential: passkey.use(late.publicKey) }
    assert.equal((await hive.call(sessions.logInWithPasskey, { body: lateBody })).problem.code, 'invalid_passkey')
  })

  test('whose counter stands still or goes back is refused as a copy; one that never counts works for ever', async () => {
    await using hive = await open()
    const { passkey } = await enrol(hive, await hive.person('ada'))
    assert.equal((await logIn(hive, passkey, { counter: 7 })).status, 200)
    for (const counter of [7, 6, 0])
      assert.equal((await logIn(hive, passkey, { counter })).problem.code, 'invalid_passkey', String(counter))
    assert.equal((await logIn(hive, passkey, { counter: 8 })).status, 200)

    const synced = await enrol(hive, await hive.person('eve'), createAuthenticator(originOf(hive), { isSynced: true }))
    for (let i = 0; i < 3; i++) assert.equal((await logIn(hive, synced.passkey)).status, 200)
  })

  test('is the second factor of its own person’s pending login, and of no other', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const [mine, theirs] = [(await enrol(hive, ada)).passkey, (await enrol(hive, eve)).passkey]
    async function complete(mfaToken: string, passkey: SoftPasskey, challengeOf = mfaToken) {
      const { body } = await hive.call(sessions.startMfaPasskey, { body: { mfaToken: challengeOf } })
      const { challengeToken, publicKey } = body
      const credential = passkey.use(publicKey)
      const answer = { mfaToken, method: 'passkey' as const, challengeToken, credential }
      return hive.call(sessions.completeMfa, { body: answer })
    }
    const mfaToken = await pending(hive, 'ada')
    assert.equal((await complete(mfaToken, theirs)).problem.code, 'invalid_code')
    // A challenge of another pending login, of the same person or another.
    assert.equal((await complete(mfaToken, mine, await pending(hive, 'ada'))).problem.code, 'invalid_code')
    assert.equal((await complete(mfaToken, mine, await pending(hive, 'eve'))).problem.code, 'invalid_code')
    const { user, session } = (await complete(mfaToken, mine)).body
    assert.deepEqual([user.id, session.methods], [ada.userId, ['pwd', 'pop', 'user', 'mfa']])
  })

  test('an answer to one act’s challenge proves no other, nor a login', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { passkey, factor } = await enrol(hive, ada)
    const { token } = ada
    const said = describeAct(contract.removePasskey, { params: { factorId: factor.id } })
    const answer = async () => {
      const { passkey: asked } = (await hive.call(contract.startStepUp, { token, body: said })).body
      assert.ok(asked)
      return { challengeToken: asked.challengeToken, credential: passkey.use(asked.publicKey) }
    }
    const stepUp = (act: object, proof: object, by = token) =>
      hive.call(contract.stepUp, { token: by, body: { ...said, ...act, method: 'passkey', ...proof } })
    const others = [{ operation: 'startPasskey' }, { params: { factorId: ada.userId } }, { bodyDigest: 'A'.repeat(43) }]
    for (const act of others) assert.equal((await stepUp(act, await answer())).problem.code, 'step_up_failed')
    const again = (await logIn(hive, passkey)).body.accessToken
    assert.equal((await stepUp({}, await answer(), again)).problem.code, 'step_up_failed')
    const asLogin = await hive.call(sessions.logInWithPasskey, { body: await answer() })
    assert.equal(asLogin.problem.code, 'invalid_passkey')
    const { challengeToken, publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
    const ofLogin = { challengeToken, credential: passkey.use(publicKey) }
    assert.equal((await stepUp({}, ofLogin)).problem.code, 'step_up_failed')
    assert.equal((await stepUp({}, await answer())).status, 200)
  })

  test('its owner is told of every change: added, codes replaced, removed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { passkey, factor } = await enrol(hive, ada)
    const headers = await stepUpWith(hive, ada, passkey, contract.renewRecoveryCodes, {})
    assert.equal((await hive.call(contract.renewRecoveryCodes, { token: ada.token, headers })).status, 201)
    assert.equal((await remove(hive, ada, factor.id, passkey)).status, 204)
    const told = (await hive.mails()).filter(({ to }) => to === 'ada@example.net').map(({ text }) => text)
    for (const what of ['passkey was added', 'recovery codes of your account were replaced', 'passkey was removed'])
      assert.equal(told.filter((text) => text.replaceAll('\n', ' ').includes(what)).length, 1, what)
  })

  test('removed, it opens nothing from that moment on', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [phone, laptop] = [await enrol(hive, ada), await hive.person('ada')]
    const { challengeToken, publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
    const body = { challengeToken, credential: phone.passkey.use(publicKey) }
    assert.equal((await remove(hive, laptop, phone.factor.id, phone.passkey)).status, 204)
    assert.equal((await hive.call(sessions.logInWithPasskey, { body })).problem.code, 'invalid_passkey')
    // Without any factor left the password is enough again, and there are no recovery codes.
    await hive.logInAgain('ada')
    assert.equal((await hive.call(contract.listFactors, { token: ada.token })).body.recoveryCodesLeft, 0)
  })

  test('the last way in stays', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { passkey, factor } = await enrol(hive, ada)
    await hive.ctx.db.kysely.updateTable('users').set({ passwordHash: null }).where('id', '=', ada.userId).execute()
    assert.equal((await remove(hive, ada, factor.id, passkey)).problem.code, 'last_credential')
    assert.equal((await logIn(hive, passkey)).status, 200)
  })

  test('has the name its person gives it; another person’s does not exist', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const params = { factorId: (await enrol(hive, ada)).factor.id }
    const rename = (token: string) => hive.call(contract.renamePasskey, { token, params, body: { name: 'key' } })
    assert.equal((await rename(eve.token)).problem.code, 'factor_not_found')
    assert.equal((await rename(ada.token)).body.name, 'key')
    const headers = await hive.stepUp(eve, contract.removePasskey, { params })
    const removed = await hive.call(contract.removePasskey, { token: eve.token, params, headers })
    assert.equal(removed.problem.code, 'factor_not_found')
  })
})
