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

test('a cancel reaches a held beat at once: no time passes between', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  server.holdsBeats = true
  const { made, lease } = hold()
  await clock.advance(1000)
  await server.until(() => server.requests.length === 1)
  assert.equal(server.requests[0]?.body.waitSeconds, 12, 'a quarter of the time until the fence')
  const stopped = new Promise((end) => lease.signal.addEventListener('abort', end))
  server.tell(made, 'cancel')
  await stopped
  assert.equal(lease.stopReason, 'canceled')
  await server.until(() => server.requests.length === 2)
})

test('a job that begins while a beat is held joins within a second, by one beat for all', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  server.holdsBeats = true
  hold()
  await clock.advance(1000)
  await server.until(() => server.requests.length === 1)
  hold()
  const { made, lease } = hold()
  await clock.advance(1000)
  await server.until(() => server.requests.length === 2)
  assert.deepEqual(server.requests[1]?.body.leases, [1, 2, 3])
  const stopped = new Promise((end) => lease.signal.addEventListener('abort', end))
  server.tell(made, 'cancel')
  await stopped
})

test('a held beat that is lost leaves time to ask again before the fence, and the next is not held', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  server.holdsBeats = true
  const { lease } = hold()
  await clock.advance(1000)
  await server.until(() => server.requests.length === 1)
  server.intercept = () => 'hang up'
  await clock.advance(11_000)
  server.intercept = undefined
  server.tell(server.leases.get(1) as never, 'ok')
  await server.until(() => server.requests.length === 2)
  assert.equal(lease.stopReason, undefined)
})

test('jobs that end within a second cost no beat', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  for (let job = 0; job < 20; job += 1) {
    const { lease } = hold()
    await clock.advance(900)
    lease.release()
    await clock.advance(100)
  }
  assert.equal(server.requests.length, 0)
})

test('a server that answers at once with nothing new is not asked again at once', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  server.intercept = () => ({
    status: 200,
    body: { leases: [{ token: 1, verdict: 'ok' }], draining: false, nextSeconds: 0 },
  })
  hold()
  await clock.advance(1000)
  await server.until(() => server.requests.length === 1)
  await clock.advance(900)
  assert.equal(server.requests.length, 1)
  await clock.advance(200)
  await server.until(() => server.requests.length === 2)
})

test('a heartbeat that fails is repeated soon, and one the server never answers ends in the fence', async (t) => {
  const { server, clock, hold } = await openBeating(t)
  const { lease } = hold()
  server.intercept = () => 'hang up'
  for (let passedMs = 0; passedMs < 50_000; passedMs += 500) await clock.advance(500)
  assert.ok(server.requests.length > 3, `${server.requests.length} attempts`)
  assert.equal(lease.stopReason, 'fenced')
})
