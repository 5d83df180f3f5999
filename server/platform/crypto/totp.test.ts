import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findTotpStep, presentTotp, totpCodeAt } from './totp.ts'

const secret = new TextEncoder().encode('12345678901234567890')
/** RFC 6238, Appendix B, the last six of the eight digits: what SHA-1 makes of that secret. */
const vectors: [seconds: number, code: string][] = [
  [59, '287082'],
  [1_111_111_109, '081804'],
  [1_111_111_111, '050471'],
  [1_234_567_890, '005924'],
  [2_000_000_000, '279037'],
  [20_000_000_000, '353130'],
]

test('codes are those of RFC 6238', () => {
  const { secret: base32 } = presentTotp('HiveSync', 'ada', secret)
  assert.equal(base32, 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ')
  for (const [seconds, code] of vectors) {
    assert.equal(totpCodeAt(base32, seconds * 1000), code)
    assert.equal(findTotpStep(secret, code, seconds * 1000), Math.floor(seconds / 30))
  }
})

test('a code holds for the step before and the step after its own, and for no other', () => {
  const [, code] = vectors[3] as [number, string]
  const step = Math.floor(1_234_567_890 / 30)
  const at = (steps: number, ms = 0) => findTotpStep(secret, code, (step + steps) * 30_000 + ms)
  assert.equal(at(-1), step)
  assert.equal(at(1, 29_999), step)
  assert.equal(at(-1, -1), undefined)
  assert.equal(at(2), undefined)
})

test('spaces and hyphens do not count, and nothing but six digits is a code', () => {
  const now = 1_234_567_890_000
  for (const code of ['005 924', '005-924', ' 005924 ']) assert.ok(findTotpStep(secret, code, now), code)
  for (const code of ['', '05924', '0005924', '5924', '+05924', '0x1725', '００５９２４', '005924\n5', 'null'])
    assert.equal(findTotpStep(secret, code, now), undefined, code)
})

test('an app is told everything it needs, whatever the name', () => {
  const { uri } = presentTotp('HiveSync', 'a b&c=d/ü', secret)
  const url = new URL(uri)
  assert.equal(url.protocol, 'otpauth:')
  assert.equal(url.searchParams.get('secret'), 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ')
  assert.deepEqual(
    ['algorithm', 'digits', 'period', 'issuer'].map((name) => url.searchParams.get(name)),
    ['SHA1', '6', '30', 'HiveSync'],
  )
})
