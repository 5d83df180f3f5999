import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breakerDelayMs, readRetryAfter, retryDelayMs } from './policy.ts'

test('nine retries follow the first attempt, 75 h 35 min and 5 s in all, each shifted by a fifth at most', () => {
  const sumOf = (fraction: number) =>
    Array.from({ length: 9 }, (_, i) => retryDelayMs(i + 1, fraction, undefined) ?? 0).reduce((sum, ms) => sum + ms, 0)
  assert.equal(sumOf(0.5), (75 * 3600 + 35 * 60 + 5) * 1000)
  assert.equal(sumOf(0), Math.round(sumOf(0.5) * 0.8))
  assert.ok(sumOf(0.999) < sumOf(0.5) * 1.2)
  assert.equal(retryDelayMs(10, 0.5, 5000), undefined)
})

test('a receiver may ask for more time than the schedule gives, up to a day, and never for less', () => {
  assert.equal(retryDelayMs(1, 0.5, 60_000), 60_000)
  assert.equal(retryDelayMs(1, 0.5, 1), 5000)
  assert.equal(retryDelayMs(1, 0.5, Number.MAX_SAFE_INTEGER), 86_400_000)
})

test('Retry-After is seconds or a date, and anything else is nothing', () => {
  const now = Date.UTC(2026, 0, 5, 12)
  assert.equal(readRetryAfter('120', now), 120_000)
  assert.equal(readRetryAfter('Mon, 05 Jan 2026 12:01:00 GMT', now), 60_000)
  assert.equal(readRetryAfter('Mon, 05 Jan 2026 11:00:00 GMT', now), 0)
  for (const odd of ['-1', '1.5', '1e9', ' 5', 'Infinity', '2026-01-05', 'Mon, 99 Foo 2026 12:01:00 GMT', ''])
    assert.equal(readRetryAfter(odd, now), undefined, odd)
  for (const huge of ['1000000000000', '9'.repeat(400)])
    assert.equal(retryDelayMs(1, 0.5, readRetryAfter(huge, now)), 86_400_000, 'as long as anybody may ask')
  assert.equal(readRetryAfter(null, now), undefined)
})

test('the breaker opens at the fifth failure in a row, for longer each time, ten minutes at most', () => {
  assert.deepEqual([4, 5, 6, 9, 10, 1000].map(breakerDelayMs), [0, 30_000, 60_000, 480_000, 600_000, 600_000])
})
