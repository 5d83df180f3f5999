import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Identity, nobody } from '../actor.ts'
import { createRateLimits } from './rate-limits.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const address = '192.0.2.1'

const session: Identity = { ...nobody, kind: 'user', id: 'ada', userId: 'ada', sessionId: 's' }
function key(id: string, limit = 1000, more: Partial<Identity> & { group?: string } = {}): Identity {
  const { group = id, ...rest } = more
  return { ...nobody, kind: 'key', id, userId: 'ada', hourly: { group, limit }, ...rest }
}

function open(rateScale = 1) {
  let now = Date.UTC(2026, 0, 5, 12)
  const limits = createRateLimits(rateScale, () => now)
  return {
    limits,
    advance(ms: number) {
      now += ms
    },
    hit: (identity: Identity, category: 'read' | 'write' = 'read') => {
      const state = limits.hit(category, identity, address)
      assert.ok(state)
      return state
    },
    allowed(identity: Identity, tries: number, category: 'read' | 'write' = 'read') {
      let count = 0
      for (let i = 0; i < tries; i++) if (limits.hit(category, identity, address)?.allowed) count++
      return count
    },
  }
}

describe('whoever stole a session', () => {
  const stolen: Identity = { ...session, sessionId: 'stolen' }

  test('keeps its owner neither from ending it nor from proving themselves, however much is asked with it', () => {
    const { limits } = open()
    for (const category of ['auth', 'session', 'read', 'write'] as const)
      for (let i = 0; i < 200; i++) limits.hit(category, stolen, address)
    for (const category of ['auth', 'session'] as const)
      assert.equal(limits.hit(category, session, address)?.allowed, true)
    for (const category of ['auth', 'session'] as const)
      assert.equal(limits.hit(category, stolen, address)?.allowed, false)
  })

  test('reads and writes no more than the person may, with however many sessions', () => {
    const { allowed } = open()
    assert.equal(allowed(stolen, 60), 60)
    assert.equal(allowed(session, 60), 40)
    assert.equal(allowed(stolen, 20, 'write'), 20)
    assert.equal(allowed(session, 20, 'write'), 10)
  })
})

describe('all keys of one person together', () => {
  test('have the limits of one person: many keys are no higher limit', () => {
    const { allowed, advance } = open()
    assert.equal(allowed(key('k1'), 60), 60)
    advance(59_999)
    assert.equal(allowed(key('k2'), 60), 40)
    assert.equal(allowed(key('k3'), 1), 0)
    assert.equal(allowed(key('of-bob', 1000, { userId: 'bob' }), 101), 100)
    advance(1)
    assert.equal(allowed(key('k3'), 100), 60)
  })

  test('never shut their owner out of a session, nor a session them', () => {
    const { allowed } = open()
    assert.equal(allowed(key('k1'), 150), 100)
    assert.equal(allowed(session, 150), 100)
    assert.equal(allowed(key('k1'), 31, 'write'), 30)
    assert.equal(allowed(session, 31, 'write'), 30)
  })

  test('but not the operator’s key, which has no owner', () => {
    const { allowed } = open()
    assert.equal(allowed(key('operator', 1000, { userId: null }), 101), 100)
    assert.equal(allowed(key('another', 1000, { userId: null }), 101), 100)
  })
})

describe('the hour of a key', () => {
  test('is exact at its edge, and slides', () => {
    const { allowed, hit, advance } = open()
    const slow = key('k', 5)
    assert.equal(allowed(slow, 3), 3)
    advance(20 * minuteMs)
    assert.equal(allowed(slow, 9), 2)
    assert.deepEqual(hit(slow), { allowed: false, limit: 5, remaining: 0, resetMs: 40 * minuteMs })
    advance(40 * minuteMs - 1)
    assert.equal(hit(slow).allowed, false)
    advance(1)
    assert.equal(allowed(slow, 9), 3)
    advance(20 * minuteMs)
    assert.equal(allowed(slow, 9), 2)
  })

  test('is shared with the keys that rotation made of it', () => {
    const { allowed } = open()
    assert.equal(allowed(key('old', 5), 3), 3)
    assert.equal(allowed(key('new', 5, { group: 'old' }), 9), 2)
    assert.equal(allowed(key('old', 5), 1), 0)
  })

  test('counts every category of requests', () => {
    const { allowed } = open()
    assert.equal(allowed(key('k', 5), 3, 'read'), 3)
    assert.equal(allowed(key('k', 5), 9, 'write'), 2)
  })
})

describe('a refused request', () => {
  test('of an exhausted hour takes nothing from the owner’s minute', () => {
    const { allowed } = open()
    assert.equal(allowed(key('k1', 5), 500), 5)
    assert.equal(allowed(key('k2'), 500), 95)
  })

  test('of an exhausted minute takes nothing from the key’s hour', () => {
    const { allowed, advance } = open()
    assert.equal(allowed(key('k1', 150), 500), 100)
    advance(minuteMs)
    assert.equal(allowed(key('k1', 150), 500), 50)
  })

  test('is told the window that holds longer', () => {
    const { allowed, hit, advance } = open()
    const both = key('k', 100)
    assert.equal(allowed(both, 100), 100)
    const state = hit(both)
    assert.deepEqual([state.allowed, state.resetMs], [false, hourMs])
    advance(minuteMs)
    assert.equal(hit(both).resetMs, hourMs - minuteMs)
    assert.equal(hit(key('other')).allowed, true)
  })
})

test('an admitted request is told the tighter of its two windows', () => {
  const { hit, allowed } = open()
  assert.deepEqual([hit(key('k', 50)).limit, hit(key('k', 50)).remaining], [50, 48])
  const wide = hit(key('wide', 5000))
  assert.deepEqual([wide.limit, wide.remaining, wide.resetMs], [100, 97, minuteMs])
  allowed(key('wide', 5000), 47)
  assert.deepEqual([hit(key('k', 50)).remaining, hit(key('even', 50)).resetMs], [47, minuteMs])
})

test('however requests of two keys fall, no window ever holds more than its limit, and who waits as told gets through', () => {
  const step = fc.record({
    first: fc.boolean(),
    afterMs: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.constantFrom(0, minuteMs, minuteMs - 1, hourMs - 1)),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), fc.integer({ min: 1, max: 60 }), (steps, limit) => {
      const { hit, advance } = open()
      const [one, other] = [key('one', limit), key('other', 5000)]
      const accepted: { at: number; first: boolean }[] = []
      let at = 0
      const go = (ms: number) => {
        at += ms
        advance(ms)
      }
      for (const { first, afterMs } of steps) {
        go(afterMs)
        const state = hit(first ? one : other, 'write')
        if (state.allowed) accepted.push({ at, first })
      }
      for (const { at: start } of accepted) {
        const since = accepted.filter((each) => each.at >= start)
        assert.ok(since.filter((each) => each.at < start + minuteMs).length <= 30)
        assert.ok(since.filter((each) => each.first && each.at < start + hourMs).length <= limit)
      }
      let state = hit(one, 'write')
      while (state.allowed) state = hit(one, 'write')
      go(state.resetMs - 1)
      assert.equal(hit(one, 'write').allowed, false)
      go(1)
      assert.equal(hit(one, 'write').allowed, true)
    }),
    { numRuns: 100 },
  )
})

test('the scale for load tests multiplies both', () => {
  const { allowed } = open(3)
  assert.equal(allowed(key('k1', 5), 500), 15)
  assert.equal(allowed(key('k2'), 500), 285)
})

test('who proves nothing is counted by address, and an enrolled worker not at all', () => {
  const { limits, hit } = open()
  for (let i = 0; i < 100; i++) assert.ok(hit(nobody).allowed)
  assert.equal(hit(nobody).allowed, false)
  assert.equal(limits.hit('read', nobody, '192.0.2.2')?.allowed, true)
  assert.equal(limits.hit('worker', { ...nobody, kind: 'worker', id: 'w' }, address), undefined)
  assert.equal(limits.hit('none', session, address), undefined)
})

test('an hour of a key outlives the sweeps of its minutes', () => {
  const { limits, allowed, advance } = open()
  assert.equal(allowed(key('k', 5), 9), 5)
  for (let i = 0; i < 59; i++) {
    advance(minuteMs)
    limits.sweep()
  }
  assert.equal(allowed(key('k', 5), 9), 0)
  advance(minuteMs)
  limits.sweep()
  assert.equal(allowed(key('k', 5), 9), 5)
})
