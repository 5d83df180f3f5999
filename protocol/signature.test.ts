import assert from 'node:assert/strict'
import { createHmac, createPrivateKey, createSecretKey, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { generateEncodedKeyPair, importPrivateKey, importPublicKey, importSecret, type SignatureKey } from './keys.ts'
import { parseSignature, type SignatureHeaders, signatureBase, signRequest, verifySignature } from './signature.ts'

const now = 1_900_000_000
const pair = generateEncodedKeyPair()
const privateKey = importPrivateKey(pair)
const publicKey = importPublicKey(pair.publicKey)
const secretKey = importSecret(Buffer.alloc(32, 7))
const body = Buffer.from('{"slots":2}')
const nonce = 'AAAAAAAAAAAAAAAAAAAAAA'
const keyId = '01935f6e-7cf1-7b3e-8a4d-3f2b1c0d9e8f'
const method = 'POST'
const target = '/api/v1/worker/claims?wait=30'

function signed(change: Partial<Parameters<typeof signRequest>[0]> = {}): SignatureHeaders {
  return signRequest({ method, target, body, keyId, key: privateKey, createdSeconds: now, nonce, ...change })
}

function outcome(headers: Record<string, string | string[] | undefined>, change: Record<string, unknown> = {}): string {
  const parsed = parseSignature(headers)
  if (!parsed.ok) return parsed.code
  const verified = verifySignature(parsed, { method, target, key: publicKey, nowSeconds: now, ...change })
  return verified.ok ? 'ok' : verified.code
}

test('a signed request verifies and gives its key id, nonce, time and digest', () => {
  const headers = signed()
  const parsed = parseSignature({ ...headers })
  assert.ok(parsed.ok)
  assert.equal(parsed.contentDigest, headers['content-digest'])
  const verified = verifySignature(parsed, { method, target, key: publicKey, nowSeconds: now })
  assert.deepEqual(verified, { ok: true, keyId, nonce, createdSeconds: now })
})

test('a shared secret signs and verifies as HMAC-SHA-256', () => {
  assert.equal(outcome({ ...signed({ key: secretKey }) }, { key: secretKey }), 'ok')
  assert.equal(
    outcome({ ...signed({ key: secretKey }) }, { key: importSecret(Buffer.alloc(32, 8)) }),
    'signature_invalid',
  )
})

test('the signature base and Ed25519 agree with RFC 9421 B.2.6', () => {
  const base = signatureBase(
    [
      ['date', 'Tue, 20 Apr 2021 02:07:55 GMT'],
      ['@method', 'POST'],
      ['@path', '/foo'],
      ['@authority', 'example.com'],
      ['content-type', 'application/json'],
      ['content-length', '18'],
    ],
    '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
  )
  const rfcKey = importPrivateKey({
    publicKey: 'JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs',
    privateKey: 'n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU',
  })
  const expected = 'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=='
  assert.equal(sign(null, Buffer.from(base), rfcKey).toString('base64'), expected)
})

test('the signature base and HMAC agree with RFC 9421 B.2.5', () => {
  const base = signatureBase(
    [
      ['date', 'Tue, 20 Apr 2021 02:07:55 GMT'],
      ['@authority', 'example.com'],
      ['content-type', 'application/json'],
    ],
    '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
  )
  const secret = 'uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=='
  const mac = createHmac('sha256', createSecretKey(secret, 'base64')).update(base).digest('base64')
  assert.equal(mac, 'pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=')
})

test('another method, path, query, key or digest is refused', () => {
  const headers = signed()
  assert.equal(outcome({ ...headers }, { method: 'PUT' }), 'signature_invalid')
  assert.equal(outcome({ ...headers }, { target: '/api/v1/worker/claim?wait=30' }), 'signature_invalid')
  assert.equal(outcome({ ...headers }, { target: '/api/v1/worker/claims' }), 'signature_invalid')
  assert.equal(outcome({ ...headers }, { target: '/api/v1/worker/claims?wait=31' }), 'signature_invalid')
  assert.equal(
    outcome({ ...headers }, { key: importPublicKey(generateEncodedKeyPair().publicKey) }),
    'signature_invalid',
  )
  const otherDigest = signed({ body: Buffer.from('{}') })['content-digest']
  assert.equal(outcome({ ...headers, 'content-digest': otherDigest }), 'signature_invalid')
})

test('an empty query and an absent one are the same, as RFC 9421 2.2.7 says', () => {
  assert.equal(outcome({ ...signed({ target: '/a' }) }, { target: '/a?' }), 'ok')
})

test('a signature too old or from the future is refused', () => {
  assert.equal(outcome({ ...signed() }, { nowSeconds: now + 300 }), 'ok')
  assert.equal(outcome({ ...signed() }, { nowSeconds: now - 300 }), 'ok')
  assert.equal(outcome({ ...signed() }, { nowSeconds: now + 301 }), 'signature_expired')
  assert.equal(outcome({ ...signed() }, { nowSeconds: now - 301 }), 'signature_expired')
  assert.equal(outcome({ ...signed() }, { nowSeconds: Number.NaN }), 'signature_expired')
})

test("the key's type fixes the algorithm: a public key is never an HMAC secret", () => {
  const publicBytes = importSecret(Buffer.from(pair.publicKey, 'base64url'))
  assert.equal(outcome({ ...signed({ key: publicBytes }) }), 'signature_invalid')
  assert.equal(outcome({ ...signed() }, { key: secretKey }), 'signature_invalid')
})

test('missing and repeated fields are refused', () => {
  for (const name of ['signature-input', 'signature', 'content-digest'] as const) {
    assert.equal(outcome({ ...signed(), [name]: undefined }), 'signature_missing')
    assert.equal(outcome({ ...signed(), [name]: [signed()[name], signed()[name]] }), 'signature_malformed')
    assert.equal(outcome({ ...signed(), [name]: `${signed()[name]}, ${signed()[name]}` }), 'signature_malformed')
    assert.equal(outcome({ ...signed(), [name]: '' }), 'signature_malformed')
  }
})

test('fewer, more or reordered components are refused', () => {
  const input = signed()['signature-input']
  const lists = [
    '',
    '"@method" "@path" "@query"',
    '"@method" "@path" "content-digest" "@query"',
    '"@method" "@path" "@query" "content-digest" "date"',
    '"@method" "@path" "@query" "content-digest";req',
    '"@method"  "@path" "@query" "content-digest"',
  ]
  for (const list of lists) {
    const changed = input.replace(/\(.*\)/, `(${list})`)
    assert.equal(outcome({ ...signed(), 'signature-input': changed }), 'signature_components')
  }
})

test('parameters missing, repeated, unknown or out of bounds are refused', () => {
  const input = signed()['signature-input']
  const changes = [
    input.replace(/;nonce="[^"]*"/, ''),
    input.replace(/;created=\d+/, ''),
    input.replace(/;alg="[^"]*"/, ''),
    input.replace(/;tag="[^"]*"/, ''),
    input.replace('hivesync-worker', 'other'),
    input.replace('ed25519', 'none'),
    input.replace('ed25519', 'rsa-v1_5-sha256'),
    input.replace(nonce, nonce.slice(1)),
    input.replace(nonce, 'A'.repeat(65)),
    input.replace(/created=\d+/, 'created=-1'),
    input.replace(/created=\d+/, 'created="1900000000"'),
    input.replace(/created=\d+/, 'created=1900000000.0'),
    input.replace(keyId, '../../etc/passwd'),
    input.replace(keyId, 'a'.repeat(65)),
    `${input};expires=1900000300`,
    `${input};created=${now}`,
    `${input};`,
    input.replace(';nonce', '; nonce'),
    input.replace('hs=', 'sig1='),
    `${input}${' '.repeat(600)}`,
  ]
  for (const changed of changes) {
    assert.equal(outcome({ ...signed(), 'signature-input': changed }), 'signature_malformed', changed)
  }
})

test('parameters may come in another order when signed so', () => {
  const parameters = `("@method" "@path" "@query" "content-digest");alg="ed25519";keyid="k";nonce="${nonce}";created=${now};tag="hivesync-worker"`
  const digest = signed()['content-digest']
  const base = signatureBase(
    [
      ['@method', method],
      ['@path', '/api/v1/worker/claims'],
      ['@query', '?wait=30'],
      ['content-digest', digest],
    ],
    parameters,
  )
  const signature = `hs=:${sign(null, Buffer.from(base), privateKey).toString('base64')}:`
  assert.equal(outcome({ 'signature-input': `hs=${parameters}`, signature, 'content-digest': digest }), 'ok')
})

test('base64 that decodes alike but is spelled otherwise is refused', () => {
  const { signature } = signed()
  const sloppy = signature.replace(
    /([AQgw])==:$/,
    (_, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}==:`,
  )
  assert.notEqual(sloppy, signature)
  assert.equal(outcome({ ...signed(), signature: sloppy }), 'signature_malformed')
  assert.equal(outcome({ ...signed(), signature: signature.replace('==:', ':') }), 'signature_malformed')
})

test('targets with control or foreign characters are neither signed nor accepted', () => {
  for (const bad of ['', 'relative', '/a\n"@query": ?x', '/ä', '/a b']) {
    assert.throws(() => signed({ target: bad }), RangeError)
    assert.equal(outcome({ ...signed() }, { target: bad }), 'signature_malformed')
  }
  assert.throws(() => signatureBase([['x', 'a\nb']], '()'), RangeError)
})

test('every change of one character in a field is refused', () => {
  const headers = signed()
  const names = ['signature-input', 'signature', 'content-digest'] as const
  fc.assert(
    fc.property(fc.constantFrom(...names), fc.nat(), fc.integer({ min: 0x20, max: 0x7e }), (name, at, code) => {
      const value = headers[name]
      const index = at % value.length
      const character = String.fromCharCode(code)
      fc.pre(value[index] !== character)
      const changed = value.slice(0, index) + character + value.slice(index + 1)
      assert.notEqual(outcome({ ...headers, [name]: changed }), 'ok')
    }),
    { numRuns: 2000 },
  )
})

test('arbitrary field values are refused without an exception', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (input, signature, digest) => {
      assert.notEqual(outcome({ 'signature-input': input, signature, 'content-digest': digest }), 'ok')
    }),
  )
})

test('any method, target and body round-trips with either kind of key', () => {
  const keys: [SignatureKey, SignatureKey][] = [
    [privateKey, publicKey],
    [secretKey, secretKey],
  ]
  fc.assert(
    fc.property(
      fc.webPath(),
      fc.webQueryParameters(),
      fc.uint8Array(),
      fc.constantFrom(...keys),
      (path, query, bytes, [a, b]) => {
        const url = `/${path}?${query}`
        assert.equal(outcome({ ...signed({ target: url, body: bytes, key: a }) }, { target: url, key: b }), 'ok')
      },
    ),
  )
})

test('small-order public keys, which fit forged signatures, are refused with either sign', () => {
  const points = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ]
  for (const point of points) {
    const bytes = Buffer.from(point, 'hex')
    assert.throws(() => importPublicKey(bytes.toString('base64url')), /small order/)
    bytes.writeUInt8(bytes.readUInt8(31) | 0x80, 31)
    assert.throws(() => importPublicKey(bytes.toString('base64url')), /small order/)
  }
})

test('keys that are malformed, mismatched or too short are refused', () => {
  assert.throws(() => importPublicKey(''), RangeError)
  assert.throws(() => importPublicKey(`${pair.publicKey}A`), RangeError)
  assert.throws(() => importPublicKey(pair.publicKey.slice(1)), RangeError)
  const foreign = generateEncodedKeyPair()
  assert.throws(() => importPrivateKey({ publicKey: foreign.publicKey, privateKey: pair.privateKey }))
  assert.throws(() => importSecret(Buffer.alloc(31)), RangeError)
  const rsaLike = createPrivateKey({
    key: { kty: 'OKP', crv: 'X25519', x: pair.publicKey, d: pair.privateKey },
    format: 'jwk',
  })
  assert.throws(() => signed({ key: rsaLike }), TypeError)
})
