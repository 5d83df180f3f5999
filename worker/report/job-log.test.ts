import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { openJobLog } from './job-log.ts'
import { createLeases } from './leases.ts'
import { sendLogBatch } from './log-delivery.ts'

async function openLog(t: TestContext, maxHeldBytes?: number) {
  const { server, client, log, events } = await openEnrolled(t)
  const made = server.submit('compute', { command: ['true'] })
  const lease = createLeases({ clock: systemClock, log }).hold(made.claim)
  const options = { client, lease, clock: systemClock, random: systemRandom, log }
  const jobLog = openJobLog({ ...options, ...(maxHeldBytes && { maxHeldBytes }) })
  t.after(() => jobLog.close())
  return { server, client, made, lease, jobLog, events }
}

test('both streams arrive in the order they were written, numbered without a gap', async (t) => {
  const { server, made, jobLog } = await openLog(t)
  const lines = Array.from({ length: 50 }, (_, index) => `line ${index} é\n`)
  for (const [index, line] of lines.entries()) jobLog.write(index % 2 === 0 ? 'stdout' : 'stderr', Buffer.from(line))
  await server.until(() => server.text(made) === lines.join(''))
  assert.deepEqual(
    made.log.map((chunk) => chunk.seq),
    made.log.map((_, index) => index),
  )
  assert.deepEqual(await jobLog.close(), [])
})

test('what a full memory cannot take is dropped, and the log says where and how much', async (t) => {
  const { server, made, jobLog } = await openLog(t, 10_000)
  server.intercept = () => ({ status: 503 })
  jobLog.write('stdout', Buffer.from('a'.repeat(9000)))
  jobLog.write('stdout', Buffer.from('b'.repeat(5000)))
  jobLog.write('stderr', Buffer.from('c'.repeat(700)))
  server.intercept = undefined
  await server.until(() => server.text(made, 'stdout').length === 9000)
  jobLog.write('stdout', Buffer.from('d'))
  const left = await jobLog.close()
  const said = left.find((chunk) => chunk.stream === 'system')
  assert.match(said?.text ?? server.text(made, 'system'), /5700 bytes of output are missing here/)
  assert.equal(
    (server.text(made) + left.map((chunk) => chunk.text).join('')).replace(/\[hivesync].*\n/, ''),
    `${'a'.repeat(9000)}d`,
  )
})

test('what was not acknowledged when the job ends is handed over and stored once', async (t) => {
  const { server, client, made, jobLog } = await openLog(t)
  jobLog.write('stdout', Buffer.from('first\n'))
  await server.until(() => made.log.length === 1)
  jobLog.write('stdout', Buffer.from('second\n'))
  let left = await jobLog.close()
  assert.deepEqual(
    left.map((chunk) => [chunk.seq, chunk.text]),
    [[1, 'second\n']],
  )
  await sendLogBatch(client, made.claim.token, left)
  left = (await sendLogBatch(client, made.claim.token, left)).left
  assert.deepEqual([left, server.text(made)], [[], 'first\nsecond\n'])
})

test('a log the server has cut off is not sent any further', async (t) => {
  const { server, jobLog, events } = await openLog(t)
  server.intercept = () => ({ status: 200, body: { nextSeq: 0, truncated: true } })
  jobLog.write('stdout', Buffer.from('x'))
  await server.until(() => events.some(({ event }) => event === 'log_truncated') || undefined)
  jobLog.write('stdout', Buffer.from('y'))
  assert.deepEqual(await jobLog.close(), [])
  assert.equal(server.requests.length, 1)
})

test('a log that is refused because the lease is lost stops the job', async (t) => {
  const { made, lease, jobLog } = await openLog(t)
  made.verdict = 'lost'
  const stopped = new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
  jobLog.write('stdout', Buffer.from('x'))
  await stopped
  assert.equal(lease.stopReason, 'lost')
})

test('a batch stays below what the server accepts, however the text is escaped', async (t) => {
  const { server, client, made } = await openLog(t)
  const text = '\u0001'.repeat(16_384)
  let left = Array.from({ length: 60 }, (_, seq) => ({ seq, stream: 'stdout' as const, at: 0, text }))
  while (left.length > 0) left = (await sendLogBatch(client, made.claim.token, left)).left as typeof left
  assert.equal(made.log.length, 60)
  assert.ok(server.requests.length > 5)
})
