import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPasswordHasher } from './password.ts'
import { nameOfWork, type PasswordWork } from './password-cost.ts'
import { type LegacyHash, parseLegacyHash } from './password-legacy.ts'

const cost = { memoryCost: 8, timeCost: 1, parallelism: 1 }
const hasher = createPasswordHasher({ permits: 2, maxQueued: 100, deadlineMs: 120_000, cost })

function legacy(text: string): LegacyHash {
  const parsed = parseLegacyHash(text)
  assert.ok(parsed, text)
  return parsed
}
const wrap = (text: string) => hasher.wrap(legacy(text))

// Vectors of crypt_blowfish (public domain) and SHA-256 of `password`.
const long = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const bcrypts: readonly [password: string, hash: string][] = [
  ['U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  ['U*U*', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'],
  ['U*U*U', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
  ['', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'],
  [`${long}chars after 72 are ignored`, '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'],
]
const sha256 = '5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8'

test('bcrypt hashes of other systems verify, and are stored inside Argon2id without their output', async () => {
  for (const [password, hash] of bcrypts) {
    for (const version of ['$2a$', '$2b$', '$2y$']) {
      const stored = await wrap(hash.replace('$2a$', version))
      assert.match(stored, /^\$hs-bcrypt\$2b\$05\$[./A-Za-z0-9]{22}\$argon2id\$v=19\$m=8,t=1,p=1\$/)
      assert.ok(!stored.includes(hash.slice(-31)))
      assert.equal(await hasher.verify(stored, password), true, password)
      assert.equal(await hasher.verify(stored, `x${password}`), false)
    }
  }
})

test('bcrypt compares exactly what was typed: a trailing space and another case count', async () => {
  const stored = await wrap(bcrypts[0]?.[1] ?? '')
  for (const wrong of ['U*U ', ' U*U', 'u*u', 'U*']) assert.equal(await hasher.verify(stored, wrong), false)
})

test('bcrypt sees 72 bytes: what lies beyond is not asked for, and such a password is not made the new hash', async () => {
  const stored = await wrap(bcrypts[4]?.[1] ?? '')
  assert.equal(await hasher.verify(stored, long), true)
  assert.equal(await hasher.verify(stored, `${long}another end`), true)
  assert.equal(await hasher.verify(stored, long.slice(0, 71)), false)
  assert.equal(hasher.needsRehash(stored, long), true)
  assert.equal(hasher.needsRehash(stored, `${long}x`), false)
})

test('a NUL inside a password proves nothing to bcrypt, which would take a repetition for the password', async () => {
  const stored = await wrap(bcrypts[0]?.[1] ?? '')
  for (const repeated of ['U*U\0U*U', 'U*U\0', 'U*U\0U*U\0U*U'])
    assert.equal(await hasher.verify(stored, repeated), false)
})

test('unsalted SHA-256 verifies as it was typed, wrapped with a salt of its own each time', async () => {
  const [one, two] = [await wrap(sha256), await wrap(sha256.toUpperCase())]
  assert.match(one, /^\$hs-sha256\$argon2id\$v=19\$m=8,t=1,p=1\$/)
  assert.notEqual(one, two)
  for (const stored of [one, two]) {
    assert.ok(!stored.toLowerCase().includes(sha256))
    assert.equal(await hasher.verify(stored, 'password'), true)
    for (const wrong of ['', 'Password', 'password ', sha256]) assert.equal(await hasher.verify(stored, wrong), false)
    assert.equal(hasher.needsRehash(stored, 'password'), true)
  }
})

test('a decomposed password is another one to the systems that composed nothing', async () => {
  const { sha256Hex } = await import('./hash.ts')
  const stored = await wrap(sha256Hex('cafe\u0301'))
  assert.equal(await hasher.verify(stored, 'cafe\u0301'), true)
  assert.equal(await hasher.verify(stored, 'caf\u00e9'), false)
})

test('what may not be hashed is wrong for legacy hashes too, also where the empty password is right', async () => {
  const stored = await wrap(bcrypts[3]?.[1] ?? '')
  assert.equal(await hasher.verify(stored, ''), true)
  for (const bad of ['x'.repeat(1025), `${'x'.repeat(20)}\ud800`, 'x'.repeat(5_000_000)])
    assert.equal(await hasher.verify(stored, bad), false)
})

test('anything else than SHA-256 in hex and bcrypt of cost 4 to 13 is refused at import', () => {
  const tail = 'CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
  const wrong = [
    ...['$2a$31$', '$2a$14$', '$2a$03$', '$2a$00$', '$2x$05$', '$2$05$', '$2a$5$', '$2a$+5$'].map(
      (start) => start + tail,
    ),
    `$2a$05$${tail}A`,
    `$2a$05$${tail.slice(1)}`,
    `$2a$05$${tail}\n`,
    sha256.slice(1),
    `${sha256}0`,
    `sha256:${sha256}`,
    '5f4dcc3b5aa765d61d8327deb882cf99',
    '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g',
    'password',
    '',
  ]
  for (const text of wrong) assert.equal(parseLegacyHash(text), undefined, text)
})

test('unused bits at the end of a bcrypt salt or output are cleared, and the password still verifies', async () => {
  const [password, hash] = ['U*U*U', bcrypts[2]?.[1] ?? '']
  // `O` ends the salt with all unused bits clear, `a` the output; their neighbors mean the same bytes.
  const sloppy = `${hash.slice(0, 28)}P${hash.slice(29, -1)}b`
  assert.equal(await hasher.verify(await wrap(sloppy), password), true)
})

test('every kind of account is verified by the same works in the same order', async () => {
  const bcrypt: PasswordWork = { kind: 'bcrypt', cost: 5 }
  const past: PasswordWork = { kind: 'argon2id', memoryCost: 16, timeCost: 1, parallelism: 1 }
  const inUse = [past, bcrypt]
  const former = createPasswordHasher({ permits: 1, maxQueued: 1, deadlineMs: 120_000, cost: { ...past } })
  const accounts = [
    null,
    await hasher.hash('a current password'),
    await former.hash('a password of former parameters'),
    await wrap(sha256),
    await wrap(bcrypts[0]?.[1] ?? ''),
    await former.wrap(legacy(bcrypts[0]?.[1] ?? '')),
  ]
  for (const stored of accounts)
    assert.deepEqual(hasher.worksFor(stored, inUse).map(nameOfWork), ['2b$05', 'm=16,t=1,p=1', 'm=8,t=1,p=1'])
})

test('the works done for nobody change no answer', async () => {
  const works: PasswordWork[] = [
    { kind: 'bcrypt', cost: 4 },
    { kind: 'bcrypt', cost: 6 },
    { kind: 'argon2id', memoryCost: 16, timeCost: 1, parallelism: 1 },
  ]
  const plain = await hasher.hash('a current password')
  const wrapped = await wrap(bcrypts[0]?.[1] ?? '')
  assert.equal(await hasher.verify(plain, 'a current password', { works }), true)
  assert.equal(await hasher.verify(plain, 'U*U', { works }), false)
  assert.equal(await hasher.verify(wrapped, 'U*U', { works }), true)
  assert.equal(await hasher.verify(wrapped, 'a current password', { works }), false)
  assert.equal(await hasher.verifyNothing('U*U', { works }), false)
})
