import assert from 'node:assert/strict'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { type Enrolled, makeTestFolder, openEnrolled } from '../test-support/enrolled-client.ts'
import { openOutbox } from './outbox.ts'

async function open(t: TestContext, enrolled: Enrolled, dataDir: string) {
  const { client, log } = enrolled
  const random = { nonce: systemRandom.nonce, fraction: () => 0 }
  const outbox = await openOutbox({ dataDir, client, log, clock: systemClock, random })
  t.after(() => outbox.close())
  return outbox
}

const files = (dataDir: string) => readdir(join(dataDir, 'outbox'))
const never = new AbortController().signal
const chunk = { seq: 0, stream: 'stdout', at: 1, text: 'the end\n' } as const

test('a completion is on disk before it is sent, closed to others, and gone once acknowledged', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server } = enrolled
  const dataDir = await makeTestFolder(t)
  const outbox = await open(t, enrolled, dataDir)
  const { token, jobId } = server.submit('compute', {}).claim
  let modes: number[] = []
  await outbox.put({ token, jobId, completion: { outcome: 'succeeded' }, chunks: [chunk] }, async () => {
    const paths = [join(dataDir, 'outbox'), join(dataDir, 'outbox', `${token}.json`)]
    modes = (await Promise.all(paths.map((path) => stat(path)))).map(({ mode }) => mode & 0o777)
  })
  await outbox.drained(never)
  assert.deepEqual(modes, [0o700, 0o600])
  assert.deepEqual(
    server.requests.map((seen) => seen.operation),
    ['appendLog', 'completeLease'],
  )
  assert.deepEqual(await files(dataDir), [])
})

test('what one run could not deliver the next one does, exactly once', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server } = enrolled
  const dataDir = await makeTestFolder(t)
  const lease = server.submit('compute', {})
  const { token, jobId } = lease.claim
  server.intercept = () => 'hang up'
  const first = await open(t, enrolled, dataDir)
  await first.put({ token, jobId, completion: { outcome: 'succeeded', result: { exitCode: 0 } }, chunks: [chunk] })
  await server.until(() => server.requests.length > 2)
  assert.deepEqual(first.tokens(), [token])
  await first.close()
  assert.deepEqual(await files(dataDir), [`${token}.json`])
  server.intercept = undefined
  const second = await open(t, enrolled, dataDir)
  await second.drained(never)
  const third = await open(t, enrolled, dataDir)
  assert.deepEqual([lease.completions, lease.completion?.result, third.size], [1, { exitCode: 0 }, 0])
  assert.equal(server.text(lease), 'the end\n')
})

test('a lost lease ends the delivery', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server, events } = enrolled
  const dataDir = await makeTestFolder(t)
  const lease = server.submit('compute', {})
  lease.verdict = 'lost'
  const outbox = await open(t, enrolled, dataDir)
  await outbox.put({ token: 1, jobId: lease.claim.jobId, completion: { outcome: 'succeeded' }, chunks: [] })
  await outbox.drained(never)
  assert.deepEqual([lease.completions, server.requests.length, await files(dataDir)], [0, 1, []])
  assert.ok(events.some(({ event }) => event === 'completion_too_late'))
})

test('a busy server is asked again, a refusal for good is logged and ends it', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server, events } = enrolled
  const dataDir = await makeTestFolder(t)
  const outbox = await open(t, enrolled, dataDir)
  const answers = [
    { status: 503 },
    { status: 401 },
    { status: 429 },
    { status: 400, body: { code: 'invalid_request' } },
  ]
  server.intercept = () => answers.shift()
  await outbox.put({ token: 5, jobId: 'job', completion: { outcome: 'succeeded' }, chunks: [] })
  await outbox.drained(never)
  assert.equal(server.requests.length, 4)
  assert.ok(events.some(({ event }) => event === 'completion_refused'))
})

test('a disk that takes nothing more costs no completion, and a log refused for good neither', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server, events } = enrolled
  const dataDir = await makeTestFolder(t)
  const outbox = await open(t, enrolled, dataDir)
  const lease = server.submit('compute', {})
  const { token, jobId } = lease.claim
  await mkdir(join(dataDir, 'outbox', `${token}.json.draft`)) // no file can be made under this name
  server.intercept = (operation) =>
    operation === 'appendLog' ? { status: 400, body: { code: 'invalid_request' } } : undefined
  await outbox.put({ token, jobId, completion: { outcome: 'succeeded' }, chunks: [chunk] })
  await outbox.drained(never)
  assert.deepEqual([lease.completions, lease.completion?.outcome], [1, 'succeeded'])
  for (const name of ['completion_not_stored', 'log_refused']) assert.ok(events.some(({ event }) => event === name))
})

test('half a record and foreign files in the folder are removed, not sent', async (t) => {
  const enrolled = await openEnrolled(t)
  const dataDir = await makeTestFolder(t)
  await open(t, enrolled, dataDir)
  const folder = join(dataDir, 'outbox')
  await writeFile(join(folder, '4.json'), '{"token":4,"jobId":"x"')
  await writeFile(join(folder, '5.json'), '{"token":6,"jobId":"x","completion":{},"chunks":[]}')
  await writeFile(join(folder, '7.json.draft'), '{')
  await writeFile(join(folder, 'notes'), 'x')
  const outbox = await open(t, enrolled, dataDir)
  assert.deepEqual([outbox.size, await files(dataDir)], [0, []])
  assert.equal(enrolled.events.filter(({ event }) => event === 'outbox_record_damaged').length, 3)
})

test('a receipt that cannot be signed costs no completion', async (t) => {
  const enrolled = await openEnrolled(t)
  const { server, events } = enrolled
  const outbox = await open(t, enrolled, await makeTestFolder(t))
  const lease = server.submit('compute', {})
  const { token, jobId } = lease.claim
  const completion = { outcome: 'succeeded', receipt: { version: 1, exitCode: -1 } } as const
  await outbox.put({ token, jobId, completion, chunks: [] })
  await outbox.drained(never)
  assert.deepEqual([lease.completion?.outcome, lease.completion?.receipt], ['succeeded', undefined])
  assert.ok(events.some(({ event }) => event === 'receipt_not_signed'))
})
