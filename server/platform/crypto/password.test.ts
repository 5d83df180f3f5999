import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPasswordHasher, PasswordRefused, passwordPermits } from './password.ts'
import { StoredHashRefused } from './password-stored.ts'
import { Overloaded } from './permits.ts'

const hasher = createPasswordHasher({ permits: 1, maxQueued: 100, deadlineMs: 120_000 })
const password = 'fifteen letters and more'
const stored = await hasher.hash(password)
const salt = 'c29tZXNhbHRzb21lc2FsdA'
const output = 'A'.repeat(43)
const bcryptSalt = 'abcdefghijklmnopqrstuu'

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
    `$hs-bcrypt$2b$31$${bcryptSalt}${stored}`,
    `$hs-bcrypt$2b$16$${bcryptSalt}${stored}`,
    `$hs-bcrypt$2b$03$${bcryptSalt}${stored}`,
    `$hs-bcrypt$2a$12$${bcryptSalt}${stored}`,
    `$hs-bcrypt$2b$12$${bcryptSalt.slice(1)}${stored}`,
    `$hs-bcrypt$2b$12$${bcryptSalt.slice(1)}x${stored}`,
    `$hs-bcrypt$2b$12$${bcryptSalt}$argon2id$v=19$m=2097152,t=2,p=1$${salt}$${output}`,
    `$hs-sha256$argon2id$v=19$m=2097152,t=2,p=1$${salt}$${output}`,
    `$hs-md5${stored}`,
    `$hs-sha256$hs-sha256${stored}`,
    `$argon2id$v=19$m=2097152,t=1000000000,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=${256 * 1024 + 1},t=2,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=19456,p=1,t=2$${salt}$${output}`,
    `$argon2id$v=19$m=019456,t=2,p=1$${salt}$${output}`,
    `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${output}\n`,
    `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${output}${'A'.repeat(500)}`,
    '$2b$12$abcdefghijklmnopqrstuuJ0bQy0bQy0bQy0bQy0bQy0bQy0bQy0b',
    '5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8',
    '',
  ]
  const full = createPasswordHasher({ permits: 1, maxQueued: 0, deadlineMs: 120_000 })
  const running = full.verifyNothing(password)
  await assert.rejects(full.verify(stored, password), Overloaded)
  // Not even a place in the queue is asked for.
  for (const hash of planted) await assert.rejects(full.verify(hash, password), StoredHashRefused, hash)
  await running
})

test('a damaged hash is refused or matches nothing, and never a fault', async () => {
  const cheap = createPasswordHasher({
    permits: 2,
    maxQueued: 100,
    deadlineMs: 120_000,
    cost: { memoryCost: 8, timeCost: 1, parallelism: 1 },
  })
  const good = await cheap.hash(password)
  const character = fc.constantFrom(...'$=,/+.A9mtp0'.split(''))
  const damage = fc.tuple(fc.nat(good.length - 1), fc.nat(3), fc.string({ unit: character, maxLength: 3 }))
  await fc.assert(
    fc.asyncProperty(damage, async ([at, cut, put]) => {
      const damaged = good.slice(0, at) + put + good.slice(at + cut)
      const result = await cheap.verify(damaged, password).catch((error: unknown) => error)
      assert.ok(damaged === good || result === false || result instanceof StoredHashRefused, `${damaged}: ${result}`)
    }),
    { numRuns: 1500 },
  )
})

test('a cost above the caps is borne only where the configuration once asked for it', () => {
  const dear = `$argon2id$v=19$m=${512 * 1024},t=2,p=1$${salt}$${output}`
  assert.throws(() => hasher.worksFor(dear), StoredHashRefused)
  const work = { kind: 'argon2id', memoryCost: 512 * 1024, timeCost: 2, parallelism: 1 } as const
  assert.ok(hasher.worksFor(dear, [work]).some((each) => each.kind === 'argon2id' && each.memoryCost === 512 * 1024))
})

test('hashes of other parameters verify and ask for a new hash', async () => {
  const cost = { memoryCost: 8192, timeCost: 1, parallelism: 1 }
  const past = createPasswordHasher({ permits: 1, maxQueued: 1, deadlineMs: 120_000, cost })
  const weaker = await past.hash(password)
  assert.equal(past.needsRehash(weaker, password), false)
  assert.equal(await hasher.verify(weaker, password), true)
  assert.equal(hasher.needsRehash(weaker, password), true)
  assert.equal(hasher.needsRehash(stored, password), false)
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

test('permits take no more than 1 GiB together, and one is always granted', () => {
  assert.equal(passwordPermits(64, 128, 19_456), 53)
  assert.equal(passwordPermits(64, 128, 256 * 1024), 4)
  assert.equal(passwordPermits(64, 128, 1024 * 1024), 1)
  assert.equal(passwordPermits(4, 4, 19_456), 3)
})
