import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { openJobLog } from './job-log.ts'
import { createLeases } from './leases.ts'
import { sendLogBatch } from './log-delivery.ts'

async function openLog(t: TestContext, maxHeldBytes?: number) {
  const { server, client, log, logged } = await openEnrolled(t)
  const made = server.submit('compute', { command: ['true'] })
  const lease = createLeases({ clock: systemClock, log }).hold(made.claim)
  const options = { client, lease, clock: systemClock, random: systemRandom, log }
  const jobLog = openJobLog({ ...options, ...(maxHeldBytes && { maxHeldBytes }) })
  t.after(() => jobLog.close())
  /** Ends the log as a job's end does: what is left is sent, at least once. */
  const finish = async () => {
    for (let left = await jobLog.close(); left.length > 0; ) {
      left = (await sendLogBatch(client, made.claim.token, left)).left
    }
  }
  return { server, client, made, lease, jobLog, logged, finish }
}

test('both streams arrive in the order they were written, numbered without a gap', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t)
  const lines = Array.from({ length: 50 }, (_, index) => `line ${index} é\n`)
  for (const [index, line] of lines.entries()) jobLog.write(index % 2 === 0 ? 'stdout' : 'stderr', Buffer.from(line))
  await server.until(() => made.log.length > 0)
  await finish()
  assert.equal(server.text(made), lines.join(''))
  assert.deepEqual(
    made.log.map((chunk) => chunk.seq),
    made.log.map((_, index) => index),
  )
})

test('what a full memory cannot take is dropped, and the log says where and how much', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t, 10_000)
  server.intercept = () => ({ status: 503 })
  jobLog.write('stdout', Buffer.from('a'.repeat(9000)))
  jobLog.write('stdout', Buffer.from('b'.repeat(5000)))
  jobLog.write('stderr', Buffer.from('c'.repeat(700)))
  await server.until(() => server.requests.length > 1)
  jobLog.write('stdout', Buffer.from('d'))
  server.intercept = undefined
  await finish()
  assert.equal(server.text(made, 'stdout'), 'a'.repeat(9000))
  assert.match(server.text(made, 'system'), /^.hivesync. 5701 bytes of output are missing here: [^\n]*\n$/)
})

test('what was not acknowledged when the job ends is handed over and stored once', async (t) => {
  const { server, client, made, jobLog } = await openLog(t)
  jobLog.write('stdout', Buffer.from('first\n'))
  await server.until(() => made.log.length === 1)
  jobLog.write('stdout', Buffer.from('second\n'))
  const left = await jobLog.close()
  assert.deepEqual([left.at(-1)?.seq, left.at(-1)?.text], [1, 'second\n'])
  await sendLogBatch(client, made.claim.token, left)
  await sendLogBatch(client, made.claim.token, left)
  assert.equal(server.text(made), 'first\nsecond\n')
})

test('a log the server has cut off is not sent any further', async (t) => {
  const { server, jobLog, logged } = await openLog(t)
  server.intercept = () => ({ status: 200, body: { nextSeq: 0, truncated: true } })
  jobLog.write('stdout', Buffer.from('x'))
  await logged('log_truncated')
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
