import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPasswordHasher, PasswordRefused, passwordPermits, StoredHashRefused } from './password.ts'
import { Overloaded } from './permits.ts'

const hasher = createPasswordHasher({ permits: 1, maxQueued: 100, deadlineMs: 120_000 })
const password = 'fifteen letters and more'
const stored = await hasher.hash(password)
const salt = 'c29tZXNhbHRzb21lc2FsdA'
const output = 'A'.repeat(43)

test('a password verifies against its own hash only, which states 19 MiB, two passes, one lane', async () => {
  assert.match(stored, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  assert.equal(await hasher.verify(stored, password), true)
  for (const other of ['', `${password} `, password.toUpperCase(), `${password}\0`, password.slice(0, -1)]) {
    assert.equal(await hasher.verify(stored, other), false)
  }
  assert.notEqual(await hasher.hash(password), stored)
})

test('hashing any text, also past 72 bytes or with NUL inside, tells it from its neighbor', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 120 }), async (text) => {
      const hashed = await hasher.hash(`${'p'.repeat(80)}${text}\0a`)
      assert.equal(await hasher.verify(hashed, `${'p'.repeat(80)}${text}\0a`), true)
      assert.equal(await hasher.verify(hashed, `${'p'.repeat(80)}${text}\0b`), false)
    }),
    { numRuns: 8 },
  )
})

test('composed and decomposed spellings of a password are one password', async () => {
  const hashed = await hasher.hash('caf\u00e9 au lait sans sucre')
  assert.equal(await hasher.verify(hashed, 'cafe\u0301 au lait sans sucre'), true)
})

test('a password over 1 KiB or with lone surrogates is refused when set and wrong when tried', async () => {
  const fitting = 'x'.repeat(1024)
  assert.equal(await hasher.verify(await hasher.hash(fitting), fitting), true)
  for (const bad of [`${fitting}x`, 'é'.repeat(513), 'x'.repeat(10_000_000), `${password}\ud800`]) {
    await assert.rejects(hasher.hash(bad), PasswordRefused)
    assert.equal(await hasher.verify(stored, bad), false)
  }
  const empty = await hasher.hash('')
  assert.equal(await hasher.verify(empty, `${fitting}x`), false)
})

test('planted parameters are refused before any work is done', async () => {
  const planted = [
    `$argon2id$v=19$m=2097152,t=2,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=19456,t=11,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=19456,t=2,p=9$${salt}$${output}`,
    `$argon2id$v=16$m=19456,t=2,p=1$${salt}$${output}`,
    `$argon2i$v=19$m=19456,t=2,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=1e9,t=2,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=19456,t=2,p=1,keyid=a$${salt}$${output}`,
    `$argon2id$v=19$m=19456,t=2,p=1$${salt}$`,
    '$2b$12$abcdefghijklmnopqrstuuJ0bQy0bQy0bQy0bQy0bQy0bQy0bQy0b',
    '',
  ]
  for (const hash of planted) await assert.rejects(hasher.verify(hash, password), StoredHashRefused, hash)
})

test('hashes of other parameters verify and ask for a new hash', async () => {
  const cost = { memoryCost: 8192, timeCost: 1, parallelism: 1 }
  const past = createPasswordHasher({ permits: 1, maxQueued: 1, deadlineMs: 120_000, cost })
  const weaker = await past.hash(password)
  assert.equal(past.needsRehash(weaker), false)
  assert.equal(await hasher.verify(weaker, password), true)
  assert.equal(hasher.needsRehash(weaker), true)
  assert.equal(hasher.needsRehash(stored), false)
  assert.equal(hasher.needsRehash('legacy'), true)
})

test('an account that does not exist is verified in the same queue and is always wrong', async () => {
  const narrow = createPasswordHasher({ permits: 1, maxQueued: 1, deadlineMs: 120_000 })
  const [first, second] = [narrow.verifyNothing(password), narrow.verifyNothing('x'.repeat(5000))]
  assert.deepEqual(narrow.load, { running: 1, waiting: 1 })
  await assert.rejects(narrow.verifyNothing(password), Overloaded)
  assert.deepEqual(await Promise.all([first, second]), [false, false])
})

test('permits leave a core and a thread of the pool free, and are never none', () => {
  assert.equal(passwordPermits(8, 4), 3)
  assert.equal(passwordPermits(2, 4), 1)
  assert.equal(passwordPermits(1, 4), 1)
  assert.equal(passwordPermits(64, 128), 63)
})
