import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type Identities, identitiesOn, type Person, password, type Reply } from '../../test/harness/identities.ts'
import { pruneProofs } from './device-proof.ts'
import { createDevice, type Device } from './test-device.ts'

const path = '/api/v1/auth/refresh'

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let count = 0
  before(async () => {
    hive = await open()
    await hive.setUp()
  })
  const someone = () => hive.person(`person-${++count}`)
  const me = (token: string) => hive.call('GET', '/api/v1/auth/me', { token })
  const tokenOf = (reply: Reply) => String(reply.body.refreshToken)
  const sessionOf = (reply: Reply) => reply.body.session as { id: string; deviceBound: boolean }
  const refresh = (refreshToken: string, proof?: string, server = hive) =>
    server.call('POST', path, { body: { refreshToken }, headers: proof === undefined ? {} : { dpop: proof } })
  const proofOf = (device: Device, token: string, claims: Record<string, unknown> = {}) => {
    const request = { method: 'POST', url: `${hive.ctx.config.publicUrl}${path}`, atMs: hive.ctx.clock.now(), token }
    return device.prove(request, { claims })
  }
  const refreshAs = async (device: Device, token: string) => refresh(token, await proofOf(device, token))
  const refusals = async (person: Person) =>
    (await hive.audited('session.proof_refused')).filter((event) => event.targetId === person.sessionId)

  function assertRefused(reply: Reply, code: string): void {
    assert.deepEqual([reply.status, reply.body.code], [401, code], JSON.stringify(reply.body))
    if (code !== 'invalid_refresh_token') assert.match(String(reply.headers['www-authenticate']), /^DPoP /)
  }

  async function bound(device: Device): Promise<{ person: Person; token: string }> {
    const person = await someone()
    const reply = await refreshAs(device, person.refreshToken)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    return { person, token: tokenOf(reply) }
  }

  for (const alg of ['ES256', 'EdDSA', 'Ed25519'] as const) {
    test(`the first refresh with a proof of an ${alg} key binds the session, the next ones need that key`, async () => {
      const device = await createDevice(alg)
      const person = await someone()
      const first = await refresh(person.refreshToken)
      assert.equal(sessionOf(first).deviceBound, false)
      const second = await refreshAs(device, tokenOf(first))
      assert.equal(sessionOf(second).deviceBound, true)
      const third = await refreshAs(device, tokenOf(second))
      assert.equal(third.status, 200)
      assert.equal((await me(String(third.body.accessToken))).status, 200)
      const row = hive.ctx.db.kysely.selectFrom('sessions').select('deviceKey').where('id', '=', person.sessionId)
      assert.equal((await row.executeTakeFirst())?.deviceKey, device.thumbprint)
    })
  }

  test('a login with a proof binds its session from the start, and one with a proof that does not hold is refused', async () => {
    const [device, person] = [await createDevice(), await someone()]
    const url = `${hive.ctx.config.publicUrl}/api/v1/auth/login`
    const logIn = (dpop: string) =>
      hive.call('POST', '/api/v1/auth/login', { body: { login: person.username, password }, headers: { dpop } })
    const proof = await device.prove({ method: 'POST', url, atMs: hive.ctx.clock.now() })
    const reply = await logIn(proof)
    assert.equal(sessionOf(reply).deviceBound, true, JSON.stringify(reply.body))
    assertRefused(await logIn(proof), 'invalid_device_proof')
    assertRefused(await logIn(await proofOf(device, person.refreshToken)), 'invalid_device_proof')
    assertRefused(await refresh(tokenOf(reply)), 'device_proof_required')
    assert.equal((await refreshAs(device, tokenOf(reply))).status, 200)
  })

  test('a stolen token without the key gets nothing, ends nothing and is audited, and the owner goes on', async () => {
    const [device, thief] = [await createDevice(), await createDevice()]
    const { person, token } = await bound(device)
    assertRefused(await refresh(token), 'device_proof_required')
    assertRefused(await refreshAs(thief, token), 'invalid_device_proof')
    assert.equal((await refusals(person)).length, 2)
    const next = await refreshAs(device, token)
    assert.equal(next.status, 200)
    assert.equal(sessionOf(next).deviceBound, true)
  })

  test('nor does an old token without the key end the session of its owner', async () => {
    const [device, thief] = [await createDevice(), await createDevice()]
    const { token } = await bound(device)
    const next = await refreshAs(device, token)
    hive.advance(60_000)
    assertRefused(await refresh(token), 'device_proof_required')
    assertRefused(await refreshAs(thief, token), 'invalid_device_proof')
    assert.equal((await refreshAs(device, tokenOf(next))).status, 200)
  })

  for (const isOwnerProving of [false, true])
    test(`a thief who binds the session to their own key is found out by its owner, who proves ${isOwnerProving ? 'another' : 'none'}`, async () => {
      const [owner, thief] = [await createDevice(), await createDevice()]
      const person = await someone()
      const stolen = await refreshAs(thief, person.refreshToken)
      hive.advance(10_001)
      const late = isOwnerProving ? refreshAs(owner, person.refreshToken) : refresh(person.refreshToken)
      assertRefused(await late, 'invalid_refresh_token')
      assertRefused(await refreshAs(thief, tokenOf(stolen)), 'invalid_refresh_token')
      const ended = (await hive.audited('session.refresh_reused')).filter(
        (event) => event.targetId === person.sessionId,
      )
      assert.equal(ended.length, 1)
    })

  test('whoever was a moment late, while another tab bound the session, ends nothing', async () => {
    const device = await createDevice()
    const { person, token } = await bound(device)
    assertRefused(await refresh(person.refreshToken), 'device_proof_required')
    assert.equal((await refreshAs(device, token)).status, 200)
  })

  test('an old token with the key ends the session: the key itself is in two hands', async () => {
    const device = await createDevice()
    const { person, token } = await bound(device)
    const next = await refreshAs(device, token)
    hive.advance(10_001)
    assertRefused(await refreshAs(device, token), 'invalid_refresh_token')
    assertRefused(await refreshAs(device, tokenOf(next)), 'invalid_refresh_token')
    const ended = (await hive.audited('session.refresh_reused')).filter((event) => event.targetId === person.sessionId)
    assert.equal(ended.length, 1)
  })

  test('the token just replaced gives the identical successor to the key alone', async () => {
    const device = await createDevice()
    const { token } = await bound(device)
    const first = await refreshAs(device, token)
    assertRefused(await refresh(token), 'device_proof_required')
    assert.equal(tokenOf(await refreshAs(device, token)), tokenOf(first))
  })

  test('a repeated refresh binds nothing', async () => {
    const [device, person] = [await createDevice(), await someone()]
    const first = await refresh(person.refreshToken)
    assert.equal(sessionOf(await refreshAs(device, person.refreshToken)).deviceBound, false)
    assert.equal((await refresh(tokenOf(first))).status, 200)
  })

  test('of fifty requests with one proof at once one gets through, and the session lives on', async () => {
    const device = await createDevice()
    const { token } = await bound(device)
    const proof = await proofOf(device, token)
    const replies = await Promise.all(Array.from({ length: 50 }, () => refresh(token, proof)))
    const passed = replies.filter((reply) => reply.status === 200)
    assert.equal(passed.length, 1)
    for (const reply of replies) if (reply.status !== 200) assertRefused(reply, 'invalid_device_proof')
    assert.equal((await refreshAs(device, tokenOf(passed[0] as Reply))).status, 200)
  })

  test('fifty refreshes at once, each with its own proof, give one and the same successor', async () => {
    const device = await createDevice()
    const { token } = await bound(device)
    const replies = await Promise.all(Array.from({ length: 50 }, () => refreshAs(device, token)))
    assert.deepEqual(new Set(replies.map((reply) => reply.status)), new Set([200]))
    assert.equal(new Set(replies.map(tokenOf)).size, 1)
  })

  test('of two keys that bind at once one wins and the other is refused', async () => {
    const person = await someone()
    const devices = await Promise.all(Array.from({ length: 10 }, () => createDevice('EdDSA')))
    const replies = await Promise.all(devices.map((device) => refreshAs(device, person.refreshToken)))
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
    for (const reply of replies) if (reply.status !== 200) assertRefused(reply, 'invalid_device_proof')
  })

  test('a proof made for another address, method, token or time, or sent twice over, is refused and burns nothing', async () => {
    const device = await createDevice()
    const { person, token } = await bound(device)
    const good = await proofOf(device, token)
    const wrong = [
      await proofOf(device, token, { htu: `${hive.ctx.config.publicUrl}/api/v1/auth/login` }),
      await proofOf(device, token, { htu: 'https://other.example.net/api/v1/auth/refresh' }),
      await proofOf(device, token, { htm: 'GET' }),
      await proofOf(device, person.refreshToken),
      await proofOf(device, token, { ath: undefined }),
      await proofOf(device, token, { iat: Math.floor(hive.ctx.clock.now() / 1000) - 61 }),
      await proofOf(device, token, { jti: undefined }),
      `${good}, ${good}`,
      person.token,
      '',
      'x'.repeat(8000),
    ]
    for (const proof of wrong) assertRefused(await refresh(token, proof), 'invalid_device_proof')
    assert.equal((await refusals(person)).length, wrong.length)
    assert.equal((await refresh(token, good)).status, 200)
  })

  test('a proof that does not hold is refused also where none is needed', async () => {
    const person = await someone()
    assertRefused(await refresh(person.refreshToken, 'made-up'), 'invalid_device_proof')
    assert.equal((await refresh(person.refreshToken)).status, 200)
  })

  test('a made-up token with a proof is refused without a trace in the audit of the session it names', async () => {
    const [device, person] = [await createDevice(), await someone()]
    const made = person.refreshToken.replace(/[A-Za-z0-9_-]{43}$/, 'A'.repeat(43))
    assertRefused(await refreshAs(device, made), 'invalid_refresh_token')
    assertRefused(await refresh(made, 'made-up'), 'invalid_device_proof')
    assert.deepEqual(await refusals(person), [])
  })

  test('a proof is remembered for as long as it could be used, also after a step back of the clock, and then forgotten', async () => {
    const device = await createDevice()
    const { token } = await bound(device)
    const proof = await proofOf(device, token)
    const next = tokenOf(await refresh(token, proof))
    const held = () => hive.ctx.db.kysely.selectFrom('proofNonces').select('nonce').execute()
    hive.advance(120_000)
    await pruneProofs(hive.ctx)
    hive.advance(-120_000)
    assertRefused(await refresh(token, proof), 'invalid_device_proof')
    hive.advance(300_000)
    await pruneProofs(hive.ctx)
    assert.deepEqual(await held(), [])
    assertRefused(await refresh(token, proof), 'invalid_device_proof')
    assert.equal((await refreshAs(device, next)).status, 200)
  })

  test('a proof used at one replica is refused at the other', { skip: dialect === 'sqlite' }, async () => {
    const replica = await again(hive)
    replica.advance(hive.ctx.clock.now() - replica.ctx.clock.now())
    const device = await createDevice()
    const { token } = await bound(device)
    const proof = await proofOf(device, token)
    const replies = await Promise.all(
      Array.from({ length: 20 }, (_, index) => refresh(token, proof, index % 2 === 0 ? hive : replica)),
    )
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
  })
})
