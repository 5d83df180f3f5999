import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../logger.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { createManualClock } from '../test-support/manual-clock.ts'
import { createServerTime } from './server-time.ts'

const epochMs = Date.UTC(2026, 0, 2)

function open() {
  const clock = createManualClock(epochMs)
  const events: Record<string, unknown>[] = []
  const log = createLogger((line) => events.push(JSON.parse(line)), clock.nowMs)
  const time = createServerTime({ clock, log })
  /** An answer by a server whose clock is that far from ours. */
  const answer = (behindMs: number, tookMs = 100) => {
    const receivedAtMs = clock.monotonicMs()
    const date = new Date(clock.nowMs() - behindMs - tookMs / 2).toUTCString()
    time.observe({ sentAtMs: receivedAtMs - tookMs, receivedAtMs, date })
  }
  return { clock, time, events, answer }
}

test('a clock that is right within the second of the header is left alone', () => {
  const { clock, time, events, answer } = open()
  answer(0)
  assert.ok(Math.abs(time.skewMs ?? 9999) <= 1000, `${time.skewMs}`)
  answer(29_000)
  assert.deepEqual([time.signingMs(), events.length], [clock.nowMs(), 0])
})

test('one that is off is told once, with its sign, and requests are signed with the server’s time until it is right', () => {
  const { clock, time, events, answer } = open()
  answer(3_600_000)
  answer(3_600_000)
  assert.ok(Math.abs((time.skewMs ?? 0) - 3_600_000) <= 1000)
  assert.ok(Math.abs(clock.nowMs() - 3_600_000 - time.signingMs()) <= 1000)
  assert.deepEqual(
    events.map(({ event }) => event),
    ['clock_skewed'],
  )
  answer(0)
  assert.deepEqual([time.signingMs(), events.length], [clock.nowMs(), 2])
})

test('an answer that was held back says as much of the time as a prompt one', () => {
  const { time, answer } = open()
  answer(0)
  const { clock } = open()
  time.observe({ sentAtMs: -25_000, receivedAtMs: 0, date: new Date(clock.nowMs()).toUTCString() })
  assert.ok(Math.abs(time.skewMs ?? 9999) <= 1000, `${time.skewMs}`)
})

test('a header that is no date says nothing', () => {
  const { time } = open()
  for (const date of [undefined, '', 'yesterday']) time.observe({ sentAtMs: 0, receivedAtMs: 1, date })
  assert.deepEqual([time.skewMs, time.lastAnswerMs], [undefined, 1])
})

test('a worker whose clock is an hour off is let in', async (t) => {
  const { server, client, logged } = await openEnrolled(t, { offsetMs: 3_600_000 })
  await client.heartbeat({ leases: [] })
  await logged('clock_skewed')
  await client.heartbeat({ leases: [] })
  assert.equal(server.requests.length, 3, 'refused once, then signed with the server’s time')
})
