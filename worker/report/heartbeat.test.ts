import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { createManualClock } from '../test-support/manual-clock.ts'
import { runHeartbeat } from './heartbeat.ts'
import { createLeases } from './leases.ts'

async function openBeating(t: TestContext, undelivered: number[] = []) {
  const clock = createManualClock(systemClock.nowMs())
  const { server, client, log } = await openEnrolled(t, { clock })
  const leases = createLeases({ clock, log })
  const stop = new AbortController()
  const ended = runHeartbeat({
    ...{ client, leases, clock, log, signal: stop.signal },
    random: { nonce: () => '', fraction: () => 0.5 },
    undelivered: () => undelivered,
  })
  t.after(async () => {
    stop.abort()
    await ended
  })
  const hold = () => {
    const made = server.submit('compute', { command: ['true'] })
    const lease = leases.hold(made.claim)
    lease.confirm(clock.monotonicMs())
    return { made, lease }
  }
  /** Lets one interval pass and waits for the answered beat. */
  const beat = async () => {
    const before = server.requests.length
    await clock.advance(1000)
    await server.until(() => server.requests.length > before)
  }
  return { server, clock, leases, hold, beat }
}

test('one heartbeat names every lease and every completion still to be delivered', async (t) => {
  const { server, hold, beat } = await openBeating(t, [77])
  hold()
  hold()
  await beat()
  assert.deepEqual(server.requests[0]?.body.leases, [1, 2, 77])
})

test('a worker that holds nothing sends none', async (t) => {
  const { server, clock } = await openBeating(t)
  await clock.advance(600_000)
  assert.equal(server.requests.length, 0)
})

test('each lease gets its own verdict', async (t) => {
  const { hold, beat } = await openBeating(t)
  const [ok, canceled, lost] = [hold(), hold(), hold()]
  canceled.made.verdict = 'cancel'
  lost.made.verdict = 'lost'
  const aborted = Promise.all(
    [canceled, lost].map(({ lease }) => new Promise((end) => lease.signal.addEventListener('abort', end))),
  )
  await beat()
  await aborted
  assert.deepEqual(
    [ok, canceled, lost].map(({ lease }) => lease.stopReason),
    [undefined, 'canceled', 'lost'],
  )
})

test('a heartbeat that fails is repeated soon, and one the server never answers ends in the fence', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  const { lease } = hold()
  server.intercept = () => 'hang up'
  for (let passedMs = 0; passedMs < 50_000; passedMs += 500) await clock.advance(500)
  assert.ok(server.requests.length > 3, `${server.requests.length} attempts`)
  assert.equal(lease.stopReason, 'fenced')
})
