import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeBase64url, isEqualSecret, randomToken, sha256Base64url, sha256Hex } from './hash.ts'

test('hashes agree with FIPS 180-4', () => {
  assert.equal(sha256Hex('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  assert.equal(sha256Base64url(Buffer.from('abc')), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
})

test('secrets compare by value, whatever their lengths', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      assert.equal(isEqualSecret(a, b), Buffer.compare(a, b) === 0)
      assert.ok(isEqualSecret(a, Uint8Array.from(a)))
    }),
  )
  assert.ok(!isEqualSecret('a', 'aa'))
  assert.ok(isEqualSecret('', ''))
})

test('tokens are new each time, and never shorter than 128 bits', () => {
  assert.notEqual(randomToken(), randomToken())
  assert.equal(randomToken(16).length, 22)
  for (const bytes of [15, 0, -1, Number.NaN]) assert.throws(() => randomToken(bytes), RangeError)
})

test('base64url is read in its canonical spelling only', () => {
  assert.deepEqual(decodeBase64url('AQ'), Buffer.from([1]))
  for (const text of ['AR', 'AQ==', 'A', 'A+', 'A/', ' AQ', 'AQ\n'])
    assert.equal(decodeBase64url(text), undefined, text)
})
