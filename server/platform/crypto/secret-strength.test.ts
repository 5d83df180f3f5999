import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { secureRandomBytes } from './hash.ts'
import { findSecretWeakness, generateSecret } from './secret-strength.ts'

const encode = (text: string) => Buffer.from(text).toString('base64url')

const weak: [string, string | undefined, RegExp][] = [
  ['missing', undefined, /missing/],
  ['empty', '', /missing/],
  ['padded', `${generateSecret()}=`, /base64url/],
  ['with a line feed', `${generateSecret()}\n`, /base64url/],
  ['plain base64', `${generateSecret().slice(0, 40)}+/+`, /base64url/],
  ['prose', 'correct horse battery staple and some more words', /base64url/],
  ['short', Buffer.from(secureRandomBytes(31)).toString('base64url'), /fewer than 32 bytes/],
  ['a word', 'changeme', /placeholder/],
  ['zeros', 'A'.repeat(44), /pattern/],
  ['zero bytes as hex', '0'.repeat(64), /pattern/],
  ['one letter', 'x'.repeat(64), /pattern/],
  ['a repeated block', 'Zq8Rk1Lw'.repeat(8), /pattern/],
  ['a repeated strong block', generateSecret().slice(0, 22).repeat(2), /pattern/],
  ['the alphabet', 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', /pattern/],
  ['counted bytes', Buffer.from(Array.from({ length: 33 }, (_, index) => index * 3)).toString('base64url'), /pattern/],
  ['few characters', 'aabbabbabaabbbaabababbabbbabaababbabaabbabaabbbb', /not random/],
  ['a placeholder', 'please-change-this-to-something-long-and-random-0', /placeholder/],
  ['a compose default', 'CHANGEMECHANGEMExyzzyCHANGEMEplughCHANGEMEabcdef', /placeholder/],
  ['a demo key', 'your-super-secret-jwt-token-with-at-least-32-characters-long', /placeholder/],
  ['a test key', 'test-Zq8Rk1LwVb5Xn2Jp7Ts4Gd9Hf6Mc3Yq0Rk1LwVb5', /placeholder/],
  ['an encoded phrase', encode('password for the old machine in the cellar'), /placeholder/],
  [
    'RFC 7515',
    'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow',
    /public document/,
  ],
]

for (const [name, value, reason] of weak) {
  test(`a weak secret is refused without being repeated: ${name}`, () => {
    const weakness = findSecretWeakness(value)
    assert.match(weakness ?? 'accepted', reason)
    if (value !== undefined && value !== '') assert.ok(!weakness?.includes(value.slice(0, 8)))
  })
}

test('random secrets of 32 bytes and more are accepted, in base64url and in hex', () => {
  for (let round = 0; round < 3000; round++) assert.equal(findSecretWeakness(generateSecret()), undefined)
  fc.assert(
    fc.property(fc.integer({ min: 32, max: 64 }), (bytes) => {
      const random = Buffer.from(secureRandomBytes(bytes))
      assert.equal(findSecretWeakness(random.toString('base64url')), undefined)
      assert.equal(findSecretWeakness(random.toString('hex').slice(0, 64)), undefined)
    }),
  )
})
