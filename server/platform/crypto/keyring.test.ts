import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Keyring, openKeyring, type Purpose, SealBroken } from './keyring.ts'
import { generateSecret } from './secret-strength.ts'

const [older, newer] = [generateSecret(), generateSecret()]
const keyring = openKeyring([older])

function flip(text: string, at: number): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.'
  const index = at % text.length
  const other = alphabet[(alphabet.indexOf(text.charAt(index)) + 1 + (at % 64)) % 65]
  return text.slice(0, index) + other + text.slice(index + 1)
}

function assertBroken(ring: Keyring, sealed: string, reason: string, purpose: Purpose = 'seal', aad = 'row:1') {
  assert.throws(
    () => ring.open(purpose, sealed, aad),
    (error) => error instanceof SealBroken && error.reason === reason,
  )
}

test('what is sealed opens again with the same purpose and place', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string(), (plaintext, aad) => {
      assert.deepEqual(keyring.open('seal', keyring.seal('seal', plaintext, aad), aad), Buffer.from(plaintext))
    }),
  )
})

test('sealing one value twice gives two ciphertexts, and neither shows the value', () => {
  const [a, b] = [keyring.seal('seal', 'canary', 'row:1'), keyring.seal('seal', 'canary', 'row:1')]
  assert.notEqual(a, b)
  assert.ok(!Buffer.from(a.split('.')[2] ?? '', 'base64url').includes('canary'))
})

test('another purpose, place or keyring does not open it', () => {
  const sealed = keyring.seal('seal', 'value', 'row:1')
  assertBroken(keyring, sealed, 'tampered', 'preview')
  assertBroken(keyring, sealed, 'tampered', 'seal', 'row:2')
  assertBroken(openKeyring([newer]), sealed, 'unknown_key')
})

test('every changed character of a sealed value is noticed', () => {
  const sealed = keyring.seal('seal', 'value', 'row:1')
  fc.assert(
    fc.property(fc.nat(), (at) => {
      const changed = flip(sealed, at)
      fc.pre(changed !== sealed)
      assert.throws(() => keyring.open('seal', changed, 'row:1'), SealBroken)
    }),
    { numRuns: 500 },
  )
})

test('truncated, extended and arbitrary values are refused', () => {
  const sealed = keyring.seal('seal', 'value', 'row:1')
  for (let length = 0; length < sealed.length; length++) {
    assert.throws(() => keyring.open('seal', sealed.slice(0, length), 'row:1'), SealBroken)
  }
  assertBroken(keyring, `${sealed}AAAA`, 'tampered')
  assertBroken(keyring, `v2${sealed.slice(2)}`, 'malformed')
  fc.assert(fc.property(fc.string(), (text) => assertBroken(keyring, text, 'malformed')))
})

test('the newest secret seals and signs, all listed ones open and verify, a removed one does not', () => {
  const during = openKeyring([newer, older])
  const after = openKeyring([newer])
  const [sealed, mac] = [keyring.seal('seal', 'value', 'row:1'), keyring.mac('cursor', 'data')]
  assert.equal(during.open('seal', sealed, 'row:1').toString(), 'value')
  assert.ok(during.verifyMac('cursor', 'data', mac))
  assert.equal(during.currentKeyId, after.currentKeyId)
  assert.equal(after.open('seal', during.seal('seal', 'value', 'row:1'), 'row:1').toString(), 'value')
  assert.ok(after.verifyMac('cursor', 'data', during.mac('cursor', 'data')))
  assertBroken(after, sealed, 'unknown_key')
  assert.ok(!after.verifyMac('cursor', 'data', mac))
})

test('a MAC holds for its purpose and data alone', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(), (data, at) => {
      const mac = keyring.mac('preview', data)
      assert.ok(keyring.verifyMac('preview', data, mac))
      assert.ok(!keyring.verifyMac('cursor', data, mac))
      assert.ok(!keyring.verifyMac('preview', Buffer.concat([data, Buffer.from([0])]), mac))
      const changed = flip(mac, at)
      if (changed !== mac) assert.ok(!keyring.verifyMac('preview', data, changed))
    }),
  )
  fc.assert(fc.property(fc.string(), (text) => assert.ok(!keyring.verifyMac('preview', 'data', text))))
})

test('sealing and signing for one purpose use different keys, and none is the secret itself', () => {
  const mac = keyring.mac('seal', 'data').split('.')[2]
  assert.notEqual(mac, createHmac('sha256', Buffer.from(older, 'base64url')).update('data').digest('base64url'))
})

test('key ids are the same everywhere and hold no part of the secret', () => {
  assert.equal(openKeyring([older]).currentKeyId, keyring.currentKeyId)
  assert.equal(keyring.currentKeyId.length, 8)
  assert.ok(!older.includes(keyring.currentKeyId))
})

test('no secret, a weak one, or one listed twice opens no keyring and is not repeated', () => {
  const weakSecret = 'changeme-changeme-changeme-changeme-changeme-000'
  assert.throws(() => openKeyring([]), /at least one/)
  assert.throws(() => openKeyring([older, older]), /listed twice/)
  assert.throws(
    () => openKeyring([older, weakSecret]),
    (error) =>
      error instanceof Error && /^secret 2 is refused/.test(error.message) && !error.message.includes('changeme'),
  )
})
