import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { json } from 'node:stream/consumers'
import test from 'node:test'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { refresh } from '@hivesync/contracts/sessions.ts'
import { issuerOf } from './device-key.ts'
import { deviceKeyOf, generateDeviceJwk, importDeviceJwk, type TokenPair } from './index.ts'
import { openClient } from './test-support/open-client.ts'
import { Refusal, startPeer } from './test-support/peer.ts'
import { accessTokenFrom, type ReadProof, readProof } from './test-support/read-proof.ts'
import { session, tokensOf, user } from './test-support/samples.ts'

const nowMs = 1_700_000_000_500
const publicUrl = 'https://hive.example.net'
const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url')

function storeOf(tokens: TokenPair) {
  const store = {
    tokens,
    load: async () => store.tokens,
    async save(next: TokenPair) {
      store.tokens = next
    },
    withLock: <T>(work: () => Promise<T>) => work(),
  }
  return store
}

test('a proof names the method, the server’s public address, the time and the token, and is signed by the key it shows', async () => {
  const key = deviceKeyOf(await importDeviceJwk(await generateDeviceJwk()), () => nowMs)
  const { header, claims } = await readProof(
    await key.prove({ method: 'POST', url: `${publicUrl}/a`, token: 'secret' }),
  )
  assert.deepEqual(Object.keys(header).sort(), ['alg', 'jwk', 'typ'])
  assert.deepEqual([header.typ, header.alg], ['dpop+jwt', 'EdDSA'])
  assert.deepEqual(Object.keys(header.jwk).sort(), ['crv', 'kty', 'x'])
  const { jti, ...rest } = claims
  assert.match(String(jti), /^[A-Za-z0-9_-]{22}$/)
  assert.deepEqual(rest, { htm: 'POST', htu: `${publicUrl}/a`, iat: 1_700_000_000, ath: hashOf('secret') })
  const without = await readProof(await key.prove({ method: 'POST', url: `${publicUrl}/a` }))
  assert.equal('ath' in without.claims, false)
  assert.notEqual(without.claims.jti, jti)
})

test('a P-256 key that cannot be taken out of its keeper proves as well', async () => {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])
  const { header } = await readProof(await deviceKeyOf(pair, () => nowMs).prove({ method: 'POST', url: publicUrl }))
  assert.equal(header.alg, 'ES256')
  assert.deepEqual(Object.keys(header.jwk).sort(), ['crv', 'kty', 'x', 'y'])
})

test('each try of a refresh carries a proof of its own for its refresh token; without a key there is none', async () => {
  await using peer = await startPeer()
  const proofs: ReadProof[] = []
  const sent: unknown[] = []
  peer.onRaw(refresh, async (request, response) => {
    sent.push(await json(request))
    if (request.headers.dpop !== undefined) proofs.push(await readProof(request.headers.dpop))
    if (sent.length === 1) return void request.socket.destroy()
    const reply = { ...tokensOf(2), session: { ...session, deviceBound: true } }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
  })
  peer.on(getMe, () => user)
  const deviceKey = deviceKeyOf(await importDeviceJwk(await generateDeviceJwk()), () => nowMs)
  const store = storeOf({ accessToken: accessTokenFrom(publicUrl), refreshToken: 'refresh-1', expiresAtMs: 0 })
  await openClient({ server: peer.url, credentials: { kind: 'session', store, deviceKey } }).call(getMe)
  assert.deepEqual(sent, [{ refreshToken: 'refresh-1' }, { refreshToken: 'refresh-1' }])
  const [first, second] = proofs
  assert.deepEqual([first?.claims.ath, second?.claims.ath], [hashOf('refresh-1'), hashOf('refresh-1')])
  assert.equal(first?.claims.htu, `${publicUrl}/api/v1/auth/refresh`)
  assert.notEqual(first?.claims.jti, second?.claims.jti)
  assert.equal(first?.header.jwk.x, second?.header.jwk.x)
  const unbound = storeOf({ accessToken: 'access-1', refreshToken: 'refresh-1', expiresAtMs: 0 })
  await openClient({ server: peer.url, credentials: { kind: 'session', store: unbound } }).call(getMe)
  assert.equal(proofs.length, 2)
})

test('a server that has got another public address is proved to by the one it is reached by', async () => {
  await using peer = await startPeer()
  const named: unknown[] = []
  let taken = peer.url
  peer.on(refresh, async ({ headers }) => {
    const { htu } = (await readProof(headers.dpop)).claims
    named.push(htu)
    if (htu !== `${taken}/api/v1/auth/refresh`)
      throw new Refusal('invalid_device_proof', { 'retry-after': String(named.length) })
    return tokensOf(2)
  })
  const deviceKey = deviceKeyOf(await importDeviceJwk(await generateDeviceJwk()), () => nowMs)
  const tokens = { accessToken: accessTokenFrom(publicUrl), refreshToken: 'refresh-1', expiresAtMs: 0 }
  const open = () =>
    openClient({ server: peer.url, credentials: { kind: 'session', store: storeOf(tokens), deviceKey } })
  await open().refreshSession()
  assert.deepEqual(named, [`${publicUrl}/api/v1/auth/refresh`, `${peer.url}/api/v1/auth/refresh`])
  taken = 'https://elsewhere.example.net'
  // The first refusal is the one that is told: it is about the address that the server had named itself.
  await assert.rejects(open().refreshSession(), { code: 'invalid_device_proof', retryAfterSeconds: 3 })
  assert.equal(named.length, 4)
})

test('a session can be refreshed at once, which keeps the tokens and tells what the server says of it', async () => {
  await using peer = await startPeer()
  peer.on(refresh, () => ({ ...tokensOf(2), session: { ...session, deviceBound: true } }))
  peer.on(getMe, ({ headers }) => {
    if (headers.authorization !== 'Bearer access-2') throw new Refusal('token_expired')
    return user
  })
  const store = storeOf({ accessToken: 'access-1', refreshToken: 'refresh-1', expiresAtMs: nowMs })
  const client = openClient({ server: peer.url, credentials: { kind: 'session', store } })
  assert.equal((await client.refreshSession()).deviceBound, true)
  await client.call(getMe)
  assert.deepEqual(peer.seen, ['POST /api/v1/auth/refresh', 'GET /api/v1/auth/me'])
  assert.equal(store.tokens.refreshToken, 'refresh-2')
  const keyOnly = openClient({ server: peer.url, credentials: { kind: 'api-key', apiKey: 'hs_key' } })
  await assert.rejects(keyOnly.refreshSession(), { code: 'not_logged_in' })
})

test('the public address is read from an access token, and from nothing else', () => {
  assert.equal(issuerOf(accessTokenFrom(publicUrl)), publicUrl)
  for (const text of ['', 'access-1', 'a.b.c', accessTokenFrom('no address')]) assert.equal(issuerOf(text), undefined)
})
