import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findPasswordCost, measurePasswordCost } from './password-calibration.ts'
import { defaultPasswordCost, type PasswordCost } from './password-cost.ts'

/** A machine that works off so many MiB a millisecond, and half of that where the memory no longer fits its cache. */
function machine(mibPerMs: number, cacheMib = Infinity) {
  return async ({ memoryCost, timeCost }: PasswordCost) => {
    const mib = memoryCost / 1024
    return (timeCost * (Math.min(mib, cacheMib) + 2 * Math.max(0, mib - cacheMib))) / mibPerMs
  }
}
const maxMemoryKib = 256 * 1024

test('a machine gets the most memory that stays within the time, with two passes', async () => {
  for (const measure of [machine(1), machine(1.5), machine(1, 64)]) {
    const { cost, ms } = await findPasswordCost({ targetMs: 250, maxMemoryKib, measure })
    assert.equal(cost.timeCost, 2)
    assert.ok(ms <= 250 && ms > 0.8 * 250, String(ms))
    assert.equal(await measure(cost), ms)
  }
})

test('a fast machine gets all the memory that is allowed, then more passes', async () => {
  const { cost, ms } = await findPasswordCost({ targetMs: 250, maxMemoryKib, measure: machine(6) })
  assert.deepEqual([cost.memoryCost, cost.timeCost], [maxMemoryKib, 5])
  assert.ok(ms <= 250)
  const fastest = await findPasswordCost({ targetMs: 2000, maxMemoryKib, measure: machine(1000) })
  assert.equal(fastest.cost.timeCost, 10)
})

test('a slow machine gets the least that is allowed, never less', async () => {
  const { cost, ms } = await findPasswordCost({ targetMs: 100, maxMemoryKib, measure: machine(0.1) })
  assert.deepEqual(cost, defaultPasswordCost)
  assert.ok(ms > 100)
})

test('a measurement that another program disturbed does not make the result dearer than the time', async () => {
  const calm = machine(1)
  let calls = 0
  const measure = async (cost: PasswordCost) => (await calm(cost)) * (++calls % 3 === 0 ? 4 : 1)
  const { ms } = await findPasswordCost({ targetMs: 250, maxMemoryKib, measure })
  assert.ok(ms <= 250)
})

test('what is measured is a hash of the cost that is asked for', async () => {
  assert.ok((await measurePasswordCost({ memoryCost: 64, timeCost: 1, parallelism: 1 })) > 0)
  await assert.rejects(measurePasswordCost({ memoryCost: 1, timeCost: 1, parallelism: 1 }))
})
