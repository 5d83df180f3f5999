import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import { apiKeyPattern } from '@hivesync/contracts/api-keys.ts'
import fc from 'fast-check'
import { systemClock } from '../platform/clock.ts'
import { openApiDocument } from '../platform/http/openapi.ts'
import { createRandom } from '../platform/random.ts'
import { generateApiKey, isApiKey, keyEnvironmentOf } from './key-format.ts'

const random = createRandom(systemClock)

test('a key has the published form, begins with its prefix, and no two are alike', () => {
  const made = Array.from({ length: 200 }, () => generateApiKey(random, 'live'))
  for (const { apiKey, prefix } of made) {
    assert.match(apiKey, /^hs_live_[0-9A-Za-z]{57}$/)
    assert.ok(apiKey.startsWith(prefix) && prefix.length === 16)
    assert.ok(isApiKey(apiKey, 'live'))
  }
  assert.equal(new Set(made.map(({ apiKey }) => apiKey)).size, made.length)
})

test('a key holds 256 random bits beside its name: every digit is as likely as any other', () => {
  const count = 3000
  const seen = new Map<string, number>()
  for (let i = 0; i < count; i++) {
    const secret = generateApiKey(random, 'test').apiKey.slice(16, -6)
    for (const digit of secret) seen.set(digit, (seen.get(digit) ?? 0) + 1)
  }
  assert.ok(43 * Math.log2(seen.size) > 256)
  const expected = (count * 43) / 62
  // Six standard deviations of a fair die with 62 faces; a byte taken modulo 62 would be 24 % off.
  for (const [digit, times] of seen) assert.ok(Math.abs(times - expected) < 6 * Math.sqrt(expected), digit)
})

test('production makes and takes live keys alone, every other profile test keys alone', () => {
  assert.equal(keyEnvironmentOf({ profile: 'production' }), 'live')
  for (const profile of ['local', 'staging'] as const) assert.equal(keyEnvironmentOf({ profile }), 'test')
  for (const [one, other] of [
    ['live', 'test'],
    ['test', 'live'],
  ] as const) {
    const { apiKey } = generateApiKey(random, one)
    assert.ok(!isApiKey(apiKey, other))
    assert.ok(!isApiKey(apiKey.replace(one, other), other))
  }
})

test('any one changed, missing or added character is noticed without asking the database', () => {
  const anywhere = fc.record({
    at: fc.nat(64),
    // One UTF-16 unit: what a header can hold and what it cannot.
    other: fc.oneof(
      fc.constantFrom(...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-'),
      fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    ),
  })
  fc.assert(
    fc.property(anywhere, ({ at, other }) => {
      const { apiKey } = generateApiKey(random, 'live')
      const [before, after] = [apiKey.slice(0, at), apiKey.slice(at + 1)]
      if (apiKey[at] !== other) assert.ok(!isApiKey(`${before}${other}${after}`, 'live'))
      assert.ok(!isApiKey(`${before}${after}`, 'live'))
      assert.ok(!isApiKey(`${before}${other}${apiKey[at]}${after}`, 'live'))
    }),
    { numRuns: 3000 },
  )
})

test('whatever text comes, it is judged without a fault', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(new RegExp(`^${apiKeyPattern}$`))),
      (text) => {
        for (const environment of ['live', 'test'] as const)
          assert.equal(typeof isApiKey(text, environment), 'boolean', text)
      },
    ),
  )
  for (const text of ['', 'hs_', 'hs_live_', `hs_live_${'0'.repeat(57)}\n`, `hs_live_${'A'.repeat(4000)}`])
    assert.ok(!isApiKey(text, 'live'))
})

/** As the guide says it, and as a scanner would do it: nothing of ours is used. */
function isKeyToAScanner(text: string): boolean {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  const checksum = [...text.slice(-6)].reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0)
  return checksum === crc32(Buffer.from(text.slice(0, -6), 'ascii'))
}

test('the published pattern and checksum find every key, and are the same wherever they are published', () => {
  const guide = readFileSync(new URL('../../docs/guide.md', import.meta.url), 'utf8')
  const published = /^hs_.*$/m.exec(guide)?.[0] ?? ''
  assert.equal(published, apiKeyPattern)
  for (const environment of ['live', 'test'] as const) {
    const { apiKey } = generateApiKey(random, environment)
    assert.equal(new RegExp(`\\b${published}\\b`).exec(`key=${apiKey};`)?.[0], apiKey)
    assert.ok(isKeyToAScanner(apiKey))
  }
  assert.ok(guide.includes('CRC-32'))
  assert.ok(JSON.stringify(openApiDocument('https://hive.test')).includes(apiKeyPattern))
  assert.ok(readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8').includes(apiKeyPattern))
})

test('the example of the guide is a key to the server and to a scanner', () => {
  const guide = readFileSync(new URL('../../docs/guide.md', import.meta.url), 'utf8')
  const [example = ''] = /hs_test_01234\w+/.exec(guide) ?? []
  assert.ok(isApiKey(example, 'test'))
  assert.ok(isKeyToAScanner(example))
})
