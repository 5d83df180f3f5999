import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isoTime } from './clock.ts'
import { createRandom } from './random.ts'

test('ids grow, tokens hold at least 256 bits unless asked otherwise, fractions stay below 1', () => {
  const random = createRandom({ now: () => 1_700_000_000_000 })
  const ids = Array.from({ length: 1000 }, () => random.id())
  assert.deepEqual(ids.toSorted(), ids)
  assert.equal(new Set(ids).size, ids.length)
  assert.equal(Buffer.from(random.token(), 'base64url').length, 32)
  assert.equal(random.bytes(5).length, 5)
  for (let i = 0; i < 1000; i++) {
    const fraction = random.fraction()
    assert.ok(fraction >= 0 && fraction < 1)
  }
})

test('times on the wire are ISO 8601 in UTC with milliseconds', () => {
  assert.equal(isoTime(0), '1970-01-01T00:00:00.000Z')
  assert.equal(isoTime(null), null)
})
