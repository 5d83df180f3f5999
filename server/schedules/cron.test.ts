import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextRunAfter, nextRuns } from './cron.ts'

const timeZone = 'Europe/Berlin'
const runs = (cron: string, from: string, count: number) =>
  nextRuns({ cron, timeZone }, Date.parse(from), count).map((at) => new Date(at).toISOString().slice(5, 16))

// On 2026-03-29 the clock goes from 02:00 to 03:00, on 2026-10-25 from 03:00 back to 02:00.
test('a named time that the spring gap leaves out comes right after it, on that day only', () => {
  assert.deepEqual(runs('30 2 * * *', '2026-03-28T00:00Z', 3), ['03-28T01:30', '03-29T01:00', '03-30T00:30'])
  assert.deepEqual(runs('30 2,14 * * *', '2026-03-29T00:00Z', 2), ['03-29T01:00', '03-29T12:30'])
})

test('a named time of the hour that autumn repeats comes once', () => {
  assert.deepEqual(runs('30 2 * * *', '2026-10-24T12:00Z', 2), ['10-25T00:30', '10-26T01:30'])
})

test('intervals go on through both changes of the clock', () => {
  assert.deepEqual(runs('*/30 * * * *', '2026-03-29T00:30Z', 3), ['03-29T00:30', '03-29T01:00', '03-29T01:30'])
  assert.deepEqual(runs('0 * * * *', '2026-10-25T00:00Z', 3), ['10-25T00:00', '10-25T01:00', '10-25T02:00'])
})

test('the run after a run is a later one, to the millisecond', () => {
  const at = Date.parse('2026-01-05T12:30:00Z')
  const timing = { cron: '30 * * * *', timeZone: 'UTC' }
  assert.deepEqual([nextRunAfter(timing, at), nextRunAfter(timing, at - 1)], [at + 3_600_000, at])
  assert.equal(nextRuns(timing, at, 1)[0], at)
})
