import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeviceProofRefused, verifyDeviceProof } from './device-proof.ts'
import { openKeyring, SealBroken } from './keyring.ts'
import { generateSecret } from './secret-strength.ts'
import {
  type AccessTokenClaims,
  generateSigningKey,
  openSigningKey,
  openTokenKeySet,
  signAccessToken,
  TokenRefused,
  verifyAccessToken,
} from './token-signer.ts'

const keyring = openKeyring([generateSecret()])
const row = await generateSigningKey(keyring)
const key = openSigningKey(keyring, row)
const keys = openTokenKeySet([row])
const now = 1_900_000_000
const expected = { keys, issuer: 'https://hive.test', audience: 'hivesync', nowMs: now * 1000 }
const claims: AccessTokenClaims = {
  iss: 'https://hive.test',
  aud: 'hivesync',
  sub: 'user-1',
  sid: 'session-1',
  ver: 0,
  jti: 'token-1',
  iat: now,
  nbf: now,
  exp: now + 900,
  username: 'ada',
  role: 'user',
}
const goodHeader = { alg: 'EdDSA', typ: 'at+jwt', kid: row.keyId }
const good = await signAccessToken(key, claims)

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs any header and claims with the genuine key, as an attacker never could: what is refused is refused for its content. */
function forge(header: unknown, payload: unknown, privateKey = key.privateKey): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`
}

async function assertRefused(token: string, code: string, change: Partial<typeof expected> = {}) {
  await assert.rejects(
    verifyAccessToken(token, { ...expected, ...change }),
    (error) => error instanceof TokenRefused && error.code === code,
    token,
  )
}

test('a genuine token gives its claims back', async () => {
  assert.deepEqual(await verifyAccessToken(good, expected), claims)
  assert.deepEqual(await verifyAccessToken(forge(goodHeader, claims), expected), claims)
})

test('the algorithm none is refused', async () => {
  for (const alg of ['none', 'None', 'NONE', '']) {
    await assertRefused(forge({ ...goodHeader, alg }, claims), 'invalid')
    await assertRefused(`${encode({ ...goodHeader, alg })}.${encode(claims)}.`, 'malformed')
  }
})

test('HMAC keyed with the public key is refused, in every spelling of that key', async () => {
  const publicKey = keys.get(row.keyId)
  assert.ok(publicKey)
  const spellings = [
    Buffer.from(row.publicKey),
    Buffer.from(row.publicKey, 'base64url'),
    publicKey.export({ format: 'der', type: 'spki' }),
    Buffer.from(publicKey.export({ format: 'pem', type: 'spki' })),
  ]
  for (const alg of ['HS256', 'EdDSA']) {
    for (const secret of spellings) {
      const input = `${encode({ ...goodHeader, alg })}.${encode(claims)}`
      await assertRefused(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`, 'invalid')
    }
  }
})

test('other algorithms and key types are refused though the signature fits', async () => {
  for (const alg of ['Ed25519', 'Ed448', 'ES256', 'RS256', 'eddsa', ['EdDSA'], null]) {
    await assertRefused(forge({ ...goodHeader, alg }, claims), 'invalid')
  }
})

test('a token that brings its own key, or more header members than ours, is refused', async () => {
  const own = generateKeyPairSync('ed25519')
  const jwk = own.publicKey.export({ format: 'jwk' })
  const members = [
    { jwk },
    { jku: 'https://evil.test/keys' },
    { x5u: 'https://evil.test/cert' },
    { x5c: ['MIIB'] },
    { crit: ['exp'] },
    { b64: false },
    { zip: 'DEF' },
    { cty: 'JWT' },
  ]
  for (const member of members) {
    await assertRefused(forge({ ...goodHeader, ...member }, claims, own.privateKey), 'invalid')
    await assertRefused(forge({ ...goodHeader, ...member }, claims), 'invalid')
  }
  await assertRefused(forge(goodHeader, claims, own.privateKey), 'invalid')
})

test('an unknown key id is told apart, and one that is no id is refused', async () => {
  await assertRefused(forge({ ...goodHeader, kid: 'other' }, claims), 'unknown_key')
  for (const kid of ['../../dev/null', "' OR 1=1", 'a'.repeat(65), '', 7, null, undefined, '__proto__/', [row.keyId]]) {
    await assertRefused(forge({ ...goodHeader, kid }, claims), 'invalid')
  }
  await assertRefused(forge({ ...goodHeader, kid: '__proto__' }, claims), 'unknown_key')
  await assertRefused(good, 'unknown_key', { keys: openTokenKeySet([]) })
})

test('another type, issuer or audience is refused', async () => {
  for (const typ of ['JWT', 'job+jwt', 'stepup+jwt', 'application/at+jwt', 'AT+JWT', undefined]) {
    await assertRefused(forge({ ...goodHeader, typ }, claims), 'invalid')
  }
  await assertRefused(forge(goodHeader, { ...claims, iss: 'https://hive.test/' }), 'invalid')
  await assertRefused(forge(goodHeader, { ...claims, aud: 'other' }), 'invalid')
  await assertRefused(forge(goodHeader, { ...claims, aud: ['other', 'hivesync'] }), 'invalid')
})

test('a header that names a member twice, or is spelled another way than ours, is refused', async () => {
  const { alg, typ, kid } = goodHeader
  for (const header of [
    `{"alg":"none","alg":"${alg}","typ":"${typ}","kid":"${kid}"}`,
    `{"alg":"${alg}","typ":"JWT","typ":"${typ}","kid":"${kid}"}`,
    `{"alg":"${alg}","typ":"${typ}","kid":"other","kid":"${kid}"}`,
    `{"typ":"${typ}","alg":"${alg}","kid":"${kid}"}`,
    ` {"alg":"${alg}","typ":"${typ}","kid":"${kid}"}`,
    `{"alg":"${alg}","typ":"at\\u002bjwt","kid":"${kid}"}`,
  ]) {
    const input = `${Buffer.from(header).toString('base64url')}.${encode(claims)}`
    await assertRefused(`${input}.${sign(null, Buffer.from(input), key.privateKey).toString('base64url')}`, 'invalid')
  }
})

test('a genuine signature does not help a token that is too long', async () => {
  await assertRefused(forge(goodHeader, { ...claims, padding: 'a'.repeat(2048) }), 'malformed')
})

test('a device proof is no access token, and an access token no device proof', async () => {
  const target = { method: 'POST', url: 'https://hive.test/', tokenHash: undefined }
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: row.publicKey }
  const both = { ...claims, htm: target.method, htu: target.url, jti: 'a-proof-of-its-own' }
  // Even where the server's own key signed both.
  const proof = forge({ alg: 'EdDSA', typ: 'dpop+jwt', jwk }, both)
  await verifyDeviceProof(proof, target, now * 1000)
  await assertRefused(proof, 'invalid')
  await assertRefused(forge({ ...goodHeader, typ: 'dpop+jwt' }, both), 'invalid')
  await assert.rejects(verifyDeviceProof(good, target, now * 1000), DeviceProofRefused)
  await assert.rejects(verifyDeviceProof(forge({ ...goodHeader, jwk }, both), target, now * 1000), DeviceProofRefused)
})

test('times are enforced with a tolerance of at most 30 s', async () => {
  await verifyAccessToken(good, { ...expected, nowMs: (claims.exp + 29) * 1000 })
  await assertRefused(good, 'expired', { nowMs: (claims.exp + 31) * 1000 })
  const lenient = { nowMs: (claims.exp + 60) * 1000, toleranceSeconds: 3600 }
  await assertRefused(good, 'expired', lenient)
  await verifyAccessToken(good, { ...expected, nowMs: (now - 29) * 1000 })
  await assertRefused(good, 'not_yet_valid', { nowMs: (now - 31) * 1000 })
  await assertRefused(forge(goodHeader, { ...claims, iat: now + 31 }), 'not_yet_valid')
  await assertRefused(forge(goodHeader, { ...claims, exp: now + 3601 }), 'invalid')
})

test('every claim is required and of its type', async () => {
  for (const name of ['iss', 'aud', 'sub', 'sid', 'ver', 'jti', 'iat', 'nbf', 'exp'] as const) {
    await assertRefused(forge(goodHeader, { ...claims, [name]: undefined }), 'invalid')
    await assertRefused(forge(goodHeader, { ...claims, [name]: null }), 'invalid')
    await assertRefused(forge(goodHeader, { ...claims, [name]: [claims[name]] }), 'invalid')
  }
  await assertRefused(forge(goodHeader, { ...claims, sub: 'a b' }), 'invalid')
  await assertRefused(forge(goodHeader, { ...claims, ver: 1.5 }), 'invalid')
  await assertRefused(forge(goodHeader, { ...claims, role: ['admin'] }), 'invalid')
})

test('truncated, extended, respelled and arbitrary tokens are refused', async () => {
  for (let length = 0; length < good.length; length += 3) {
    await assert.rejects(verifyAccessToken(good.slice(0, length), expected), TokenRefused)
  }
  const last = good.at(-1) ?? ''
  const respelled = good.slice(0, -1) + String.fromCharCode(last.charCodeAt(0) + 1)
  await assertRefused(respelled, 'malformed')
  for (const token of [`${good}=`, `${good}.`, `${good}.${good}`, ` ${good}`, 'a'.repeat(3000), 'e30.e30.e30']) {
    await assert.rejects(verifyAccessToken(token, expected), TokenRefused)
  }
  await fc.assert(
    fc.asyncProperty(fc.string(), (text) => assert.rejects(verifyAccessToken(text, expected), TokenRefused)),
  )
})

test('every flipped bit of a token is noticed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: good.length * 7 - 1 }), async (bit) => {
      const bytes = Buffer.from(good)
      const at = Math.floor(bit / 7)
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (bit % 7)), at)
      await assert.rejects(verifyAccessToken(bytes.toString('latin1'), expected), TokenRefused)
    }),
    { numRuns: 400 },
  )
})

test('a stored key opens only under its own id, keyring and public half', async () => {
  const other = await generateSigningKey(keyring)
  assert.throws(() => openSigningKey(keyring, { ...row, keyId: other.keyId }), SealBroken)
  assert.throws(() => openSigningKey(openKeyring([generateSecret()]), row), SealBroken)
  assert.throws(() => openSigningKey(keyring, { ...row, publicKey: other.publicKey }), /belong together/)
  assert.ok(!JSON.stringify(row).includes(key.privateKey.export({ format: 'jwk' }).d ?? 'none'))
})

test('tokens of the previous and the current key both verify until the previous is dropped', async () => {
  const next = await generateSigningKey(keyring)
  const token = await signAccessToken(openSigningKey(keyring, next), claims)
  const both = { ...expected, keys: openTokenKeySet([row, next]) }
  assert.deepEqual(await verifyAccessToken(token, both), claims)
  assert.deepEqual(await verifyAccessToken(good, both), claims)
  await assertRefused(good, 'unknown_key', { keys: openTokenKeySet([next]) })
})
