import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  desiredSlots,
  estimateLoad,
  needsScaleIn,
  needsScaleOut,
  type Sample,
  scalingSettings,
  type Work,
  weightedMean,
} from './decision.ts'

const second = 1000
const work = (change: Partial<Work> = {}): Work => ({ queued: [], running: [], meanSeconds: {}, ...change })

describe('the load', () => {
  test('of nothing is nothing', () => assert.equal(estimateLoad(work()), 0))

  test('of many short jobs is their time over the target, of long ones a slot each', () => {
    const meanSeconds = { short: 6, long: 3600 }
    assert.equal(estimateLoad(work({ queued: [{ kind: 'short', count: 20 }], meanSeconds })), 2)
    assert.equal(estimateLoad(work({ queued: [{ kind: 'long', count: 3 }], meanSeconds })), 3)
  })

  test('of a kind that never ran is half a slot a job, not nothing', () => {
    assert.equal(estimateLoad(work({ queued: [{ kind: 'new', count: 2 }] })), 1)
  })

  test('of a running job is what is left of it; one beyond its mean is expected to go on as long again', () => {
    const of = (elapsedSeconds: number) =>
      estimateLoad(work({ running: [{ kind: 'a', elapsedSeconds }], meanSeconds: { a: 60 } }))
    assert.deepEqual([0, 30, 60, 600].map(of), [1, 0.5, 1, 1])
  })

  test('never falls when a job is added, and never asks for more slots than there are jobs', () => {
    const kind = fc.constantFrom('a', 'b')
    const anyWork = fc.record({
      queued: fc.array(fc.record({ kind, count: fc.nat(50) })),
      running: fc.array(fc.record({ kind, elapsedSeconds: fc.nat(10_000) })),
      meanSeconds: fc.record({ a: fc.nat(5000), b: fc.nat(5000) }),
    })
    fc.assert(
      fc.property(anyWork, kind, (before, added) => {
        const load = estimateLoad(before)
        const jobs = before.queued.reduce((sum, { count }) => sum + count, before.running.length)
        assert.ok(load >= 0 && desiredSlots(load) <= jobs)
        const after = { ...before, queued: [...before.queued, { kind: added, count: 1 }] }
        assert.ok(estimateLoad(after) >= load)
      }),
    )
  })
})

/** Looks every five seconds; the last one at the end. */
function looks(count: number, of: (i: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: count }, (_, i) => ({
    at: i * 5 * second,
    load: 0,
    oldestQueuedSeconds: 0,
    slots: 4,
    ...of(i),
  }))
}
const calmLooks = scalingSettings.calmSeconds / 5 + 1

describe('more workers are needed', () => {
  test('when the work is more than the slots at two looks, not at one', () => {
    assert.equal(needsScaleOut(looks(1, () => ({ load: 9 }))), false)
    assert.equal(needsScaleOut(looks(2, (i) => ({ load: i === 1 ? 9 : 0 }))), false)
    assert.equal(needsScaleOut(looks(2, () => ({ load: 4.1 }))), true)
    assert.equal(needsScaleOut(looks(2, () => ({ load: 4 }))), false)
  })

  test('from none at all', () => assert.equal(needsScaleOut(looks(2, () => ({ load: 0.01, slots: 0 }))), true))

  test('when a job waits too long, however little work it is', () => {
    assert.equal(needsScaleOut(looks(2, () => ({ load: 0.1, oldestQueuedSeconds: 31 }))), true)
  })
})

describe('workers may go', () => {
  const idle = [
    { workerId: 'young', slots: 1, idleSince: 400 * second },
    { workerId: 'old', slots: 1, idleSince: 0 },
  ]

  test('longest idle first, as many as leave room for the busiest moment of the calm time', () => {
    assert.deepEqual(
      needsScaleIn(
        looks(calmLooks, () => ({ load: 1 })),
        idle,
      ),
      ['old', 'young'],
    )
    assert.deepEqual(
      needsScaleIn(
        looks(calmLooks, (i) => ({ load: i === 60 ? 2 : 1 })),
        idle,
      ),
      ['old'],
    )
  })

  test('not before the whole calm time was watched', () => {
    assert.deepEqual(
      needsScaleIn(
        looks(calmLooks - 1, () => ({ load: 0 })),
        idle,
      ),
      [],
    )
    assert.deepEqual(needsScaleIn([], idle), [])
  })

  test('not when one look was busy, or a job waited', () => {
    assert.deepEqual(
      needsScaleIn(
        looks(calmLooks, (i) => ({ load: i === 3 ? 3 : 0 })),
        idle,
      ),
      [],
    )
    assert.deepEqual(
      needsScaleIn(
        looks(calmLooks, (i) => ({ oldestQueuedSeconds: i === 3 ? 31 : 0 })),
        idle,
      ),
      [],
    )
  })

  test('not while the pool has not settled after its last change', () => {
    const changed = looks(calmLooks, (i) => ({ load: 0, slots: i < calmLooks - 30 ? 5 : 4 }))
    assert.deepEqual(needsScaleIn(changed, idle), [])
  })

  test('only idle ones are named, and never so many that the next look asks for more', () => {
    const worker = fc.record({ workerId: fc.uuid(), slots: fc.integer({ min: 1, max: 8 }), idleSince: fc.nat() })
    fc.assert(
      fc.property(
        fc.array(worker, { maxLength: 10 }),
        fc.nat(20),
        fc.double({ min: 0, max: 40, noNaN: true }),
        (others, busy, load) => {
          const slots = busy + others.reduce((sum, each) => sum + each.slots, 0)
          const samples = looks(calmLooks, () => ({ load, slots }))
          const leaving = needsScaleIn(samples, others)
          assert.ok(leaving.every((id) => others.some(({ workerId }) => workerId === id)))
          const left = others
            .filter(({ workerId }) => !leaving.includes(workerId))
            .reduce((sum, each) => sum + each.slots, busy)
          if (leaving.length > 0) assert.equal(needsScaleOut(looks(2, () => ({ load, slots: left }))), false)
        },
      ),
    )
  })
})

test('the mean leans to the last values', () => {
  assert.equal(weightedMean([]), undefined)
  assert.equal(weightedMean([10]), 10)
  assert.equal(weightedMean([10, 20]), 13)
})
