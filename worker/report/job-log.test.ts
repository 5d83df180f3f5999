import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { openJobLog } from './job-log.ts'
import { createLeases } from './leases.ts'
import { sendLogBatch } from './log-delivery.ts'
import { createRedactor } from './redactor.ts'

async function openLog(
  t: TestContext,
  { maxHeldBytes, secrets = {} }: { maxHeldBytes?: number; secrets?: Record<string, string> } = {},
) {
  const { server, client, log, logged } = await openEnrolled(t)
  const made = server.submit('compute', { command: ['true'] })
  const lease = createLeases({ clock: systemClock, log }).hold(made.claim)
  const redactor = createRedactor({ secrets })
  const options = { client, lease, clock: systemClock, random: systemRandom, log, redactor }
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

test('what a full memory cannot take is dropped, and the log says where and how much of which stream', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t, { maxHeldBytes: 10_000 })
  server.intercept = () => ({ status: 503 })
  jobLog.write('stdout', Buffer.from('q'.repeat(9000)))
  jobLog.write('stdout', Buffer.from('b'.repeat(5000)))
  jobLog.write('stderr', Buffer.from('c'.repeat(700)))
  await server.until(() => server.requests.length > 1)
  jobLog.write('stdout', Buffer.from('d'))
  server.intercept = undefined
  await finish()
  assert.deepEqual(
    made.log.map(({ stream, text, startByte, endByte }) => [stream, text.slice(0, 1), startByte, endByte]),
    [
      ['stdout', 'q', 0, 9000],
      ['stdout', '', 9000, 14_001],
      ['stderr', '', 0, 700],
    ],
  )
})

test('each chunk begins where the last of its stream ended, however output is cut, cut out and mixed', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t, { secrets: { A: 'sesame-open' } })
  for (let round = 0; round < 40; round++) {
    jobLog.write('stdout', Buffer.from('é sesame-'))
    jobLog.write('stderr', Buffer.from([0xc3]))
    jobLog.write('stdout', Buffer.from('open \0 '.repeat(200)))
    if (round === 20) await server.until(() => made.log.length > 0)
  }
  jobLog.note('sesame-open')
  await finish()
  const ends = { stdout: 0, stderr: 0, system: 0 }
  for (const { stream, startByte, endByte, text } of made.log) {
    if (stream === 'system') assert.deepEqual([startByte, endByte], [undefined, undefined])
    else assert.equal(startByte, ends[stream])
    ends[stream] = endByte ?? 0
    assert.ok(text !== '')
  }
  assert.deepEqual(ends, { stdout: 40 * (10 + 7 * 200), stderr: 40, system: 0 })
  assert.equal(server.text(made, 'system'), '[hivesync] [redacted]\n')
})

test('a secret is in nothing that leaves the machine, whichever stream interrupts it, live or at the end', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t, { secrets: { A: 'sesame-open' } })
  jobLog.write('stdout', Buffer.from('1 sesa'))
  jobLog.write('stderr', Buffer.from('2 sesame-'))
  await server.until(() => server.text(made, 'stderr') === '2 ')
  jobLog.write('stdout', Buffer.from('me-open\n'))
  jobLog.write('stderr', Buffer.from('op'))
  await server.until(() => server.text(made, 'stdout').endsWith('\n'))
  jobLog.write('stderr', Buffer.from('en'))
  await finish()
  assert.deepEqual([server.text(made, 'stdout'), server.text(made, 'stderr')], ['1 [redacted]\n', '2 [redacted]'])
  assert.ok(!JSON.stringify(server.requests).includes('sesa'))
})

test('a secret that begins on one stream and ends on the other, or that dropped output has torn, leaves neither', async (t) => {
  const { server, made, jobLog, finish } = await openLog(t, { secrets: { A: 'sesame-open' }, maxHeldBytes: 10_000 })
  jobLog.write('stdout', Buffer.from('1 sesa'))
  jobLog.write('stderr', Buffer.from('me-open\n'))
  await server.until(() => server.text(made, 'stderr') !== '')
  assert.deepEqual([server.text(made, 'stdout'), server.text(made, 'stderr')], ['1 [redacted]', '[redacted]\n'])
  jobLog.write('stdout', Buffer.from(`${'q'.repeat(4000)}sesame`))
  jobLog.write('stdout', Buffer.from('-'.repeat(20_000))) // more than there is room for
  jobLog.write('stdout', Buffer.from('-open\nnext\n'))
  await finish()
  assert.match(server.text(made, 'stdout'), /^1 \[redacted\]q+\[redacted\]\[redacted\]\nnext\n$/)
  assert.ok(!/sesa|open/.test(JSON.stringify(server.requests)))
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
  jobLog.write('stdout', Buffer.from('first\n'))
  await logged('log_truncated')
  jobLog.write('stdout', Buffer.from('second\n'))
  assert.deepEqual(await jobLog.close(), [])
  assert.equal(server.requests.length, 1)
})

test('a log that is refused because the lease is lost stops the job', async (t) => {
  const { made, lease, jobLog } = await openLog(t)
  made.verdict = 'lost'
  const stopped = new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
  jobLog.write('stdout', Buffer.from('first\n'))
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
