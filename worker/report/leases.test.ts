import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { createLogger } from '../logger.ts'
import { testId } from '../test-support/contract-request.ts'
import { createManualClock } from '../test-support/manual-clock.ts'
import { createLeases } from './leases.ts'

function openLeases() {
  const clock = createManualClock(0)
  const leases = createLeases({ clock, log: createLogger(() => {}, clock.nowMs) })
  const hold = (token: number, leaseTtlSeconds = 60) => {
    const claim: Claim = {
      ...{ token, jobId: testId(token), projectId: testId(0), kind: 'compute', input: {}, attempt: 1 },
      ...{ leaseTtlSeconds, startWithinSeconds: 30 },
    }
    return leases.hold(claim)
  }
  return { clock, leases, hold }
}

test('a job is stopped before its lease can have run out at a silent server', async () => {
  const { clock, hold } = openLeases()
  const lease = hold(1)
  lease.confirm(0)
  await clock.advance(49_999)
  assert.equal(lease.stopReason, undefined)
  await clock.advance(1)
  assert.equal(lease.stopReason, 'fenced')
  assert.ok(lease.signal.aborted)
})

test('the fence counts from when the acknowledged request was sent, and moves with each', async () => {
  const { clock, hold } = openLeases()
  const lease = hold(1, 20)
  lease.confirm(0)
  await clock.advance(10_000)
  lease.confirm(9_000)
  await clock.advance(13_999)
  assert.equal(lease.stopReason, undefined)
  lease.confirm(5_000) // an answer that was overtaken moves nothing back
  await clock.advance(1)
  assert.equal(lease.stopReason, 'fenced')
})

test('a lease counts for the heartbeat once it is confirmed, until it is released', () => {
  const { leases, hold } = openLeases()
  const lease = hold(7)
  assert.deepEqual([leases.tokens(), leases.size], [[], 1])
  lease.confirm(0)
  assert.deepEqual(leases.tokens(), [7])
  lease.release()
  assert.deepEqual([leases.tokens(), leases.size], [[], 0])
})

test('the first reason to stop stands, except that a lost lease may report nothing', () => {
  const { leases, hold } = openLeases()
  const lease = hold(1)
  lease.stop('canceled')
  lease.stop('returned')
  assert.equal(lease.stopReason, 'canceled')
  leases.stopAll('lost')
  assert.equal(lease.stopReason, 'lost')
})

test('a released lease fences nothing any more', async () => {
  const { clock, hold } = openLeases()
  const lease = hold(1)
  lease.confirm(0)
  lease.release()
  await clock.advance(100_000)
  assert.equal(lease.stopReason, undefined)
})
