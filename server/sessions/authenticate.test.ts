import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { SignJWT } from 'jose'
import { type Identities, identitiesOn, type Person } from '../../test/harness/identities.ts'
import {
  type AccessTokenClaims,
  generateSigningKey,
  openSigningKey,
  signAccessToken,
  type TokenSigningKey,
} from '../platform/crypto/token-signer.ts'
import { getAccessTokenKeys } from './signing-keys.ts'

identitiesOn((open, { dialect, again }) => {
  let hive: Identities
  let ada: Person
  let key: TokenSigningKey
  before(async () => {
    hive = await open()
    ada = await hive.setUp()
    key = (await getAccessTokenKeys(hive.ctx)).current
  })
  const me = (token: string, server = hive) => server.call('GET', '/api/v1/auth/me', { token })
  const claims = (change: object = {}): AccessTokenClaims => {
    const iat = Math.floor(hive.ctx.clock.now() / 1000)
    const subject = { sub: ada.userId, sid: ada.sessionId, ver: 0, jti: 'one' }
    return { iss: hive.ctx.config.publicUrl, aud: 'hivesync', ...subject, iat, nbf: iat, exp: iat + 900, ...change }
  }
  const signed = (change: object) => signAccessToken(key, claims(change))
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

  async function assertRefused(token: string, code: string): Promise<void> {
    // Twice: what was refused once must not be let in from the cache.
    for (const _ of [1, 2]) {
      const reply = await me(token)
      assert.deepEqual([reply.status, reply.body.code], [401, code], token)
      assert.match(String(reply.headers['www-authenticate']), /^Bearer /)
    }
  }

  test('a token of ours is accepted, again and again', async () => {
    for (const _ of [1, 2, 3]) assert.equal((await me(ada.token)).status, 200)
    assert.equal((await me(await signed({}))).status, 200)
  })

  test('an expired token is refused, at the second it says, whether it was seen before or not', async () => {
    const server = await open()
    const { token } = await server.setUp()
    const unseen = (await server.logIn('root')).accessToken
    server.advance(899_999)
    assert.equal((await me(token, server)).status, 200)
    server.advance(1)
    assert.equal((await me(token, server)).body.code, 'token_expired')
    assert.equal((await me(token, server)).body.code, 'token_expired')
    assert.equal((await me(unseen, server)).body.code, 'token_expired')
    server.advance(3600_000)
    assert.equal((await me(token, server)).body.code, 'token_expired')
  })

  test('a token from the future, of another issuer or for another audience is refused', async () => {
    const { iat } = claims()
    await assertRefused(await signed({ nbf: iat + 60 }), 'invalid_token')
    await assertRefused(await signed({ iss: 'https://other.example.net' }), 'invalid_token')
    await assertRefused(await signed({ aud: 'other' }), 'invalid_token')
    await assertRefused(await signed({ exp: iat + 7200 }), 'invalid_token')
  })

  test('a token signed with another key is refused, also under the id of ours', async () => {
    const foreign = openSigningKey(hive.ctx.keyring, await generateSigningKey(hive.ctx.keyring))
    await assertRefused(await signAccessToken(foreign, claims()), 'invalid_token')
    await assertRefused(await signAccessToken({ ...foreign, keyId: key.keyId }, claims()), 'invalid_token')
  })

  test('another algorithm, none at all, or a key brought along is refused', async () => {
    const header = { alg: 'EdDSA', typ: 'at+jwt', kid: key.keyId }
    const payload = { ...claims() }
    const [row] = await hive.ctx.db.kysely.selectFrom('signingKeys').select('publicKey').execute()
    const secret = Buffer.from(String(row?.publicKey), 'base64url')
    const hmac = new SignJWT(payload).setProtectedHeader({ ...header, alg: 'HS256' })
    await assertRefused(await hmac.sign(secret), 'invalid_token')
    await assertRefused(`${encode({ ...header, alg: 'none' })}.${encode(payload)}.`, 'invalid_token')
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: row?.publicKey }
    for (const extra of [{ jwk }, { jku: 'https://keys.example.net' }, { x5u: 'https://keys.example.net' }]) {
      const bringing = new SignJWT(payload).setProtectedHeader({ ...header, ...extra })
      await assertRefused(await bringing.sign(key.privateKey), 'invalid_token')
    }
    const otherType = new SignJWT(payload).setProtectedHeader({ ...header, typ: 'JWT' })
    await assertRefused(await otherType.sign(key.privateKey), 'invalid_token')
  })

  test('a changed payload or signature is refused, and the genuine token stays good', async () => {
    const [header, payload, signature = ''] = ada.token.split('.')
    const raised = { ...claims(), role: 'admin', sub: ada.userId }
    await assertRefused(`${header}.${encode(raised)}.${signature}`, 'invalid_token')
    await assertRefused(`${header}.${payload}.${'A'.repeat(86)}`, 'invalid_token')
    await assertRefused(`${ada.token}.`, 'invalid_token')
    await assertRefused(`${header}.${payload}`, 'invalid_token')
    assert.equal((await me(ada.token)).status, 200)
  })

  test('a token with another person’s session, a session that is gone, or an old version is refused', async () => {
    const eve = await hive.person('eve')
    await assertRefused(await signed({ sid: eve.sessionId }), 'session_revoked')
    await assertRefused(await signed({ sub: eve.userId }), 'session_revoked')
    await assertRefused(await signed({ sid: '019b76da-a800-75c9-8091-000000000000' }), 'session_revoked')
    await assertRefused(await signed({ ver: 7 }), 'session_revoked')
  })

  test('a token counts only in the header that is made for it', async () => {
    for (const authorization of [
      `Basic ${ada.token}`,
      ada.token,
      'Bearer',
      `Bearer  ${ada.token}`,
      `Bearer ${ada.token} x`,
    ]) {
      const reply = await hive.call('GET', '/api/v1/auth/me', { headers: { authorization } })
      assert.deepEqual([reply.status, reply.body.code], [401, 'invalid_token'], authorization)
    }
    const inQuery = await hive.call('GET', `/api/v1/auth/me?access_token=${ada.token}`)
    assert.equal(inQuery.body.code, 'authentication_required')
  })

  test('a signing key withdrawn takes its tokens with it within two minutes', async () => {
    const server = await open()
    const { token } = await server.setUp()
    assert.equal((await me(token, server)).status, 200)
    await server.ctx.db.kysely.updateTable('signingKeys').set({ retiresAt: server.ctx.clock.now() }).execute()
    await server.ctx.db.kysely.updateTable('signingKeys').set({ state: 'previous' }).execute()
    server.advance(120_000)
    assert.equal((await me(token, server)).body.code, 'invalid_token')
    assert.equal((await me((await server.logIn('root')).accessToken, server)).status, 200)
  })

  test('the published keys verify our tokens and hold nothing private', async () => {
    const reply = await hive.call('GET', '/.well-known/jwks.json')
    assert.equal(reply.status, 200)
    const keys = reply.body.keys as Record<string, string>[]
    assert.equal(keys.length, 2)
    assert.ok(keys.some((published) => published.kid === key.keyId))
    for (const published of keys)
      assert.deepEqual(Object.keys(published).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x'])
    const [row] = await hive.ctx.db.kysely.selectFrom('signingKeys').selectAll().execute()
    assert.match(String(row?.sealedPrivateKey), /^v1\./)
  })

  test('tokens live on after a restart', async () => {
    const first = await open()
    const { token } = await first.setUp()
    await first.close()
    assert.equal((await me(token, await again(first))).status, 200)
  })

  test('of many first needs at once one signing key is made', async () => {
    const server = await open()
    await server.setUp()
    const people = await Promise.all(Array.from({ length: 6 }, (_, index) => server.person(`person-${index}`)))
    await server.ctx.db.kysely.deleteFrom('signingKeys').execute()
    server.advance(61_000)
    const replies = await Promise.all(
      people.map(({ refreshToken }) => server.call('POST', '/api/v1/auth/refresh', { body: { refreshToken } })),
    )
    const rows = await server.ctx.db.kysely.selectFrom('signingKeys').select('id').execute()
    // It and the one to come.
    assert.equal(rows.length, 2)
    for (const reply of replies) assert.equal((await me(String(reply.body.accessToken), server)).status, 200)
  })

  test('replicas share keys, and a revocation at one is effective at the other', {
    skip: dialect === 'sqlite',
  }, async () => {
    const one = await open()
    const two = await again(one)
    const keySets = await Promise.all(
      [one, two, one, two].map(async (server) => (await server.call('GET', '/.well-known/jwks.json')).body),
    )
    for (const keySet of keySets) assert.deepEqual(keySet, keySets[0])
    const { token, sessionId } = await one.setUp()
    assert.equal((await me(token, two)).status, 200)
    const ended = await one.call('DELETE', `/api/v1/auth/sessions/${sessionId}`, { token })
    assert.equal(ended.status, 204)
    assert.equal((await me(token, two)).body.code, 'session_revoked')
  })
})
