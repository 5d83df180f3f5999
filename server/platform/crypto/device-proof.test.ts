import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { calculateJwkThumbprint } from 'jose'
import { DeviceProofRefused, type ProofRefusal, verifyDeviceProof } from './device-proof.ts'
import { sha256Base64url } from './hash.ts'

const nowMs = 1_900_000_000_000
const target = { method: 'POST', url: 'https://hive.test/api/v1/auth/refresh', tokenHash: sha256Base64url('token') }
const claims = {
  jti: 'a-proof-of-its-own',
  htm: target.method,
  htu: target.url,
  iat: nowMs / 1000,
  ath: target.tokenHash,
}
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

interface Key {
  privateKey: KeyObject
  jwk: Record<string, unknown>
  alg: string
}

function p256(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, jwk: publicKey.export({ format: 'jwk' }) as Record<string, unknown>, alg: 'ES256' }
}

function ed25519(alg: string): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, jwk: publicKey.export({ format: 'jwk' }) as Record<string, unknown>, alg }
}

/** Signs any header and claims with the device's own key: what is refused is refused for its content. */
function forge(key: Key, header: Record<string, unknown> = {}, change: Record<string, unknown> = {}): string {
  const input = `${encode({ alg: key.alg, typ: 'dpop+jwt', jwk: key.jwk, ...header })}.${encode({ ...claims, ...change })}`
  const hash = key.privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const signature = sign(hash, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

async function assertRefused(proof: string, reason: ProofRefusal | undefined, expected: object = {}) {
  await assert.rejects(
    verifyDeviceProof(proof, { ...target, ...expected }, nowMs),
    (error) => error instanceof DeviceProofRefused && (reason === undefined || error.reason === reason),
    `${reason}: ${proof}`,
  )
}

for (const key of [p256(), ed25519('EdDSA'), ed25519('Ed25519')]) {
  describe(`a device proof with ${key.alg}`, () => {
    const good = forge(key)

    test('gives the RFC 7638 thumbprint of its key, and a nonce that is not its signature', async () => {
      const proof = await verifyDeviceProof(good, target, nowMs)
      assert.equal(proof.thumbprint, await calculateJwkThumbprint(key.jwk))
      assert.equal(proof.issuedAtMs, nowMs)
      const again = await verifyDeviceProof(forge(key), target, nowMs)
      assert.equal(again.nonce, proof.nonce)
      const other = await verifyDeviceProof(forge(key, {}, { jti: 'another-proof-of-it' }), target, nowMs)
      assert.notEqual(other.nonce, proof.nonce)
    })

    test('is refused for another method, address or token', async () => {
      await assertRefused(good, 'target', { method: 'GET' })
      for (const url of [
        'https://hive.test/api/v1/auth/login',
        'http://hive.test/api/v1/auth/refresh',
        `${target.url}?x=1`,
        `${target.url}/`,
        'https://hive.test.evil/api/v1/auth/refresh',
      ]) {
        await assertRefused(good, 'target', { url })
        await assertRefused(forge(key, {}, { htu: url }), 'target')
      }
      await assertRefused(forge(key, {}, { htm: 'post' }), 'target')
      await assertRefused(good, 'token', { tokenHash: sha256Base64url('other') })
      await assertRefused(good, 'token', { tokenHash: undefined })
      await assertRefused(forge(key, {}, { ath: undefined }), 'token')
    })

    test('counts for a minute around its time', async () => {
      for (const seconds of [-60, 60]) {
        await verifyDeviceProof(forge(key, {}, { iat: nowMs / 1000 + seconds }), target, nowMs)
        await assertRefused(forge(key, {}, { iat: nowMs / 1000 + seconds + Math.sign(seconds) }), 'stale')
      }
    })

    test('is refused with a private key, a foreign member or another form of key in its header', async () => {
      const secret = key.privateKey.export({ format: 'jwk' }) as Record<string, unknown>
      for (const jwk of [
        secret,
        { ...key.jwk, kid: 'x' },
        { ...key.jwk, alg: key.alg },
        { ...key.jwk, x: undefined },
        { ...key.jwk, x: `${key.jwk.x}A` },
        { ...key.jwk, x: [key.jwk.x] },
        { ...key.jwk, crv: 'P-384' },
        { ...key.jwk, crv: 'X25519' },
        { ...key.jwk, crv: 'secp256k1' },
        { ...key.jwk, kty: 'oct' },
        { kty: 'oct', k: 'c2VjcmV0' },
        { kty: 'RSA', n: 'AQAB', e: 'AQAB' },
        { kty: '__proto__', crv: 'constructor' },
        [key.jwk],
        'key',
        null,
        undefined,
      ])
        await assertRefused(forge(key, { jwk }), 'key')
    })

    test('is refused with another type, algorithm or header member', async () => {
      for (const typ of ['JWT', 'at+jwt', 'DPOP+JWT', 'application/dpop+jwt', undefined])
        await assertRefused(forge(key, { typ }), 'malformed')
      for (const alg of ['none', 'HS256', 'RS256', 'ES384', 'ES256K', '', undefined, [key.alg]])
        await assertRefused(forge(key, { alg }), 'key')
      const header = encode({ alg: 'HS256', typ: 'dpop+jwt', jwk: key.jwk })
      const input = `${header}.${encode(claims)}`
      const mac = createHmac('sha256', Buffer.from(String(key.jwk.x), 'base64url'))
        .update(input)
        .digest('base64url')
      await assertRefused(`${input}.${mac}`, 'key')
      for (const member of [
        { crit: ['b64'], b64: false },
        { kid: '1' },
        { x5c: ['MIIB'] },
        { jku: 'https://evil.test' },
      ])
        await assertRefused(forge(key, member), 'malformed')
    })

    test('is refused without a proper id or time', async () => {
      for (const jti of [
        undefined,
        null,
        7,
        '',
        'fifteen-letters',
        'a'.repeat(201),
        'with a space inside',
        'nul\u0000'.repeat(5),
      ])
        await assertRefused(forge(key, {}, { jti }), 'malformed')
      for (const iat of [undefined, null, `${nowMs / 1000}`, 1.5, Number.MAX_VALUE])
        await assertRefused(forge(key, {}, { iat }), undefined)
    })

    test('is refused when another key signed, or a bit of it was changed', async () => {
      await assertRefused(
        forge({ ...key, privateKey: (key.alg === 'ES256' ? p256() : ed25519('EdDSA')).privateKey }),
        'signature',
      )
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: good.length * 7 - 1 }), async (bit) => {
          const bytes = Buffer.from(good)
          const at = Math.floor(bit / 7)
          bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (bit % 7)), at)
          await assertRefused(bytes.toString('latin1'), undefined)
        }),
        { numRuns: 200 },
      )
    })

    test('is refused when it is cut, doubled, respelled or too long', async () => {
      for (let length = 0; length < good.length; length += 7) await assertRefused(good.slice(0, length), undefined)
      for (const text of [`${good}, ${good}`, `${good}=`, ` ${good}`, `${good}.${good}`])
        await assertRefused(text, 'malformed')
      await assertRefused(forge(key, {}, { padding: 'a'.repeat(2048) }), 'malformed')
    })
  })
}

test('a key that is no point of its curve is refused', async () => {
  const key = p256()
  for (const x of ['A'.repeat(43), key.jwk.y]) await assertRefused(forge({ ...key, jwk: { ...key.jwk, x } }), 'key')
})

test('a key has one spelling, so that it has one thumbprint', async () => {
  const key = ed25519('EdDSA')
  const x = String(key.jwk.x)
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(x.at(-1) ?? '')
  const respelled = x.slice(0, -1) + 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[last + 1]
  await assertRefused(forge({ ...key, jwk: { ...key.jwk, x: respelled } }), 'key')
})

test('the same id under another key is another nonce: nobody uses up the ids of others', async () => {
  const [one, other] = await Promise.all([p256(), p256()].map((key) => verifyDeviceProof(forge(key), target, nowMs)))
  assert.notEqual(one?.nonce, other?.nonce)
})
