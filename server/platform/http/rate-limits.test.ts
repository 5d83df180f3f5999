import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LimitCategory } from '@hivesync/contracts/endpoint.ts'
import fc from 'fast-check'
import { type Identity, nobody } from '../actor.ts'
import { createMemoryWindows } from '../limits/memory-windows.ts'
import { createRateLimits, type Limited } from './rate-limits.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const address = '192.0.2.1'

const session: Identity = { ...nobody, kind: 'user', id: 'ada', userId: 'ada', sessionId: 's' }
function key(id: string, limit = 1000, more: Partial<Identity> & { group?: string } = {}): Identity {
  const { group = id, ...rest } = more
  return { ...nobody, kind: 'key', id, userId: 'ada', hourly: { group, limit }, ...rest }
}

const operation = (limit: LimitCategory): Limited => ({ name: 'someOperation', limit })

function open(rateScale = 1) {
  let now = Date.UTC(2026, 0, 5, 12)
  const windows = createMemoryWindows(() => now)
  const limits = createRateLimits(rateScale, windows)
  /** Memory answers at once. */
  const verdict = (category: LimitCategory, identity: Identity, from = address, more: Partial<Limited> = {}) => {
    const found = limits.hit({ ...operation(category), ...more }, identity, from)
    assert.ok(!(found instanceof Promise))
    return found
  }
  return {
    windows,
    verdict,
    isAllowed: (category: LimitCategory, identity: Identity, from = address) =>
      verdict(category, identity, from)?.allowed,
    advance(ms: number) {
      now += ms
    },
    hit: (identity: Identity, category: 'read' | 'write' = 'read') => {
      const tightest = verdict(category, identity)?.tightest
      assert.ok(tightest)
      return tightest
    },
    allowed(identity: Identity, tries: number, category: 'read' | 'write' = 'read') {
      let count = 0
      for (let i = 0; i < tries; i++) if (verdict(category, identity)?.allowed) count++
      return count
    },
  }
}

describe('whoever stole a session', () => {
  const stolen: Identity = { ...session, sessionId: 'stolen' }

  test('keeps its owner neither from ending it nor from proving themselves, however much is asked with it', () => {
    const { isAllowed } = open()
    for (const category of ['auth', 'session', 'read', 'write'] as const)
      for (let i = 0; i < 200; i++) isAllowed(category, stolen)
    for (const category of ['auth', 'session'] as const) assert.equal(isAllowed(category, session), true)
    for (const category of ['auth', 'session'] as const) assert.equal(isAllowed(category, stolen), false)
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
    assert.deepEqual(hit(slow), {
      ...{ name: 'key-hour', windowMs: hourMs },
      ...{ allowed: false, limit: 5, remaining: 0, resetMs: 40 * minuteMs },
    })
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
  const { isAllowed, verdict, hit } = open()
  for (let i = 0; i < 100; i++) assert.ok(hit(nobody).allowed)
  assert.equal(hit(nobody).allowed, false)
  assert.equal(isAllowed('read', nobody, '192.0.2.2'), true)
  assert.equal(verdict('worker', { ...nobody, kind: 'worker', id: 'w' }), undefined)
  assert.equal(verdict('none', session), undefined)
})

test('an hour of a key outlives the sweeps of its minutes', () => {
  const { windows, allowed, advance } = open()
  assert.equal(allowed(key('k', 5), 9), 5)
  for (let i = 0; i < 59; i++) {
    advance(minuteMs)
    windows.sweep()
  }
  assert.equal(allowed(key('k', 5), 9), 0)
  advance(minuteMs)
  windows.sweep()
  assert.equal(allowed(key('k', 5), 9), 5)
})

describe('a plan', () => {
  const pro: Identity = {
    ...session,
    plan: { rateMultiplier: 5, bodyBytes: 1, headerBytes: 1, stringLength: 1, arrayItems: 1, pageItems: 1 },
  }

  test('multiplies the minutes of whoever has it, and of nobody else at the same address', () => {
    const { allowed } = open()
    assert.equal(allowed(pro, 600), 500)
    assert.equal(allowed(pro, 600, 'write'), 150)
    assert.equal(allowed(nobody, 200), 100)
  })

  test('that grows or shrinks holds for the next request, and forgives nothing', () => {
    const { allowed } = open()
    assert.equal(allowed(session, 200), 100)
    assert.equal(allowed(pro, 500), 400)
    assert.equal(allowed(session, 1), 0)
  })
})

describe('an operation with a figure of its own', () => {
  test('has it instead of its category’s, and takes nothing from the category', () => {
    const { verdict, allowed } = open()
    const export_ = (identity: Identity) => verdict('read', identity, address, { perMinute: 2 })
    assert.deepEqual(
      [1, 2, 3].map(() => export_(session)?.allowed),
      [true, true, false],
    )
    assert.deepEqual(export_(session)?.tightest.name, 'someOperation')
    assert.equal(allowed(session, 200), 100)
  })
})

describe('addresses of IPv6', () => {
  const from = (network: number, host: number) => `2001:db8:1:${network.toString(16)}::${host.toString(16)}`

  test('of one /64 are one source', () => {
    const { isAllowed } = open()
    for (let host = 1; host <= 100; host++) assert.equal(isAllowed('read', nobody, from(1, host)), true)
    assert.equal(isAllowed('read', nobody, from(1, 5000)), false)
    assert.equal(isAllowed('read', nobody, from(2, 1)), true)
  })

  test('of one /48 have together eight times the limit of one', () => {
    const { isAllowed } = open()
    let count = 0
    for (let network = 0; network < 1000; network++) if (isAllowed('read', nobody, from(network, 1))) count++
    assert.equal(count, 800)
    assert.equal(isAllowed('read', nobody, '2001:db8:2::1'), true)
  })

  test('that only carry an IPv4 address are that address', () => {
    const { isAllowed } = open()
    for (let i = 0; i < 100; i++) isAllowed('read', nobody, '192.0.2.1')
    assert.equal(isAllowed('read', nobody, '::ffff:192.0.2.1'), false)
    assert.equal(isAllowed('read', nobody, '::ffff:c000:202'), true)
  })
})
