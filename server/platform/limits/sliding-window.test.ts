import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { SlidingWindow } from './sliding-window.ts'

const windowMs = 1000

/** The rule as it is said: a list of all accepted hits. */
function createModel() {
  const keys = new Map<string, number[]>()
  const sweep = (now: number) => {
    for (const [key, times] of keys) if (times.every((at) => at <= now - windowMs)) keys.delete(key)
  }
  const hit = (key: string, limit: number, now: number) => {
    // Hits from what is now the future (the clock was set back) count as just made.
    const live = (keys.get(key) ?? []).map((at) => Math.min(at, now)).filter((at) => at > now - windowMs)
    const allowed = live.length < limit
    if (allowed) live.push(now)
    keys.set(key, live)
    // The next place is free once fewer than `limit` hits are left.
    const leaves = live[Math.max(0, Math.min(live.length - limit, live.length - 1))]
    const resetMs = leaves === undefined ? windowMs : leaves + windowMs - now
    return { allowed, limit, remaining: Math.max(0, limit - live.length), resetMs }
  }
  return { hit, sweep }
}

test('agrees with a list of all hits, also when limits change, the clock is set back and old keys are swept', () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b'),
    limit: fc.oneof(
      { weight: 4, arbitrary: fc.constant(5) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }) },
    ),
    afterMs: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(0, 1, 10, 199, 200) },
      { weight: 2, arbitrary: fc.constantFrom(999, 1000, 1001) },
      { weight: 1, arbitrary: fc.integer({ min: -3000, max: 0 }) },
    ),
    sweep: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const window = new SlidingWindow(windowMs)
      const model = createModel()
      let now = 1_000_000
      for (const { key, limit, afterMs, sweep } of steps) {
        now += afterMs
        if (sweep) {
          window.sweep(now)
          model.sweep(now)
        }
        assert.deepEqual(window.hit(key, limit, now), model.hit(key, limit, now))
      }
    }),
    { numRuns: 500 },
  )
})

test('never accepts more than the limit in any window, wherever it begins', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 150 }), { minLength: 50, maxLength: 300 })
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 12 }), (afterMs, limit) => {
      const window = new SlidingWindow(windowMs)
      const accepted: number[] = []
      let now = 0
      for (const gap of afterMs) {
        now += gap
        if (window.hit('key', limit, now).allowed) accepted.push(now)
      }
      for (const start of accepted) {
        assert.ok(accepted.filter((at) => at >= start && at < start + windowMs).length <= limit)
      }
    }),
  )
})

test('who waits as long as told gets through, and not a millisecond earlier', () => {
  const window = new SlidingWindow(windowMs)
  for (const at of [0, 300, 600]) window.hit('key', 3, at)
  const { allowed, resetMs } = window.hit('key', 3, 700)
  assert.equal(allowed, false)
  assert.equal(resetMs, 300)
  assert.equal(window.hit('key', 3, 700 + resetMs - 1).allowed, false)
  assert.equal(window.hit('key', 3, 700 + resetMs).allowed, true)
})

test('a hit that is taken back leaves the window as if it had never been', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300), { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (afterMs, limit) => {
      const [window, untouched] = [new SlidingWindow(windowMs), new SlidingWindow(windowMs)]
      let now = 0
      for (const gap of afterMs) {
        now += gap
        if (window.hit('key', limit, now).allowed) window.takeBack('key')
        assert.deepEqual(window.hit('key', limit, now), untouched.hit('key', limit, now))
      }
    }),
  )
  const window = new SlidingWindow(windowMs)
  window.takeBack('nobody was here')
  assert.equal(window.size, 0)
})

test('a lowered limit and a raised one forgive nothing', () => {
  const window = new SlidingWindow(windowMs)
  for (let i = 0; i < 80; i++) assert.ok(window.hit('key', 100, i).allowed)
  assert.equal(window.hit('key', 10, 100).allowed, false)
  assert.equal(window.hit('key', 100, 101).remaining, 19)
})

test('a clock set back an hour locks nobody out for that hour', () => {
  const window = new SlidingWindow(windowMs)
  const hourMs = 3_600_000
  for (let i = 0; i < 5; i++) window.hit('key', 5, hourMs + i)
  assert.equal(window.hit('key', 5, 0).allowed, false)
  assert.equal(window.hit('key', 5, windowMs).allowed, true)
})

describe('memory', () => {
  test('is that of the hits, not of the limit', () => {
    const window = new SlidingWindow(windowMs)
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 1000; i++) window.hit(`key ${i}`, 200_000_000, 0)
    assert.ok(process.memoryUsage().arrayBuffers - before < 10_000_000)
  })

  test('of keys whose hits have left is given back, of others not', () => {
    const window = new SlidingWindow(windowMs)
    window.hit('old', 5, 0)
    window.hit('new', 5, 500)
    window.hit('never', 0, 0)
    window.sweep(1000)
    assert.equal(window.size, 1)
    assert.equal(window.hit('new', 5, 1001).remaining, 3)
    window.sweep(5000)
    assert.equal(window.size, 0)
  })
})
