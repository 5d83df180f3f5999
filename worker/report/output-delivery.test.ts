import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { createSha256, systemRandom } from '../enrol/random.ts'
import { makeOutputFolder, outputFolder } from '../job-folder.ts'
import { type Enrolled, makeTestFolder, openEnrolled } from '../test-support/enrolled-client.ts'
import { openOutbox } from './outbox.ts'

const never = new AbortController().signal
const chunk = { seq: 0, stream: 'stdout', at: 1, text: 'the end\n' } as const

async function open(t: TestContext, { client, log }: Enrolled, dataDir: string) {
  const random = { nonce: systemRandom.nonce, fraction: () => 0 }
  const outbox = await openOutbox({ dataDir, client, log, clock: systemClock, random })
  t.after(() => outbox.close())
  return outbox
}

/** A job of two files, whose worker is about to deliver its end. */
async function prepare(t: TestContext) {
  const enrolled = await openEnrolled(t)
  const dataDir = await makeTestFolder(t)
  const lease = enrolled.server.submit('compute', {})
  const { token, jobId } = lease.claim
  // Opened before: it removes what no completion waits with.
  const outbox = await open(t, enrolled, dataDir)
  const folder = await makeOutputFolder(dataDir, token)
  const outputs = []
  for (const [index, [path, content]] of [
    ['a.txt', 'first'],
    ['b/c.txt', 'second'],
  ].entries()) {
    const digest = createSha256()
    digest.update(Buffer.from(content ?? ''))
    const name = String(index + 1)
    await writeFile(join(folder, name), content ?? '')
    outputs.push({ path: path ?? '', bytes: (content ?? '').length, sha256: digest.hex(), name })
  }
  const listed = outputs.map(({ name: _, ...file }) => file)
  const record = {
    token,
    jobId,
    completion: { outcome: 'succeeded', result: { outputs: listed } },
    chunks: [chunk],
    outputs,
  } as const
  return { ...enrolled, enrolled, outbox, dataDir, lease, record: { ...record, chunks: [...record.chunks] }, outputs }
}
const stored = (lease: { artifacts: Map<string, { declared: { path: string }; content?: Buffer }> }) =>
  [...lease.artifacts.values()].map(({ declared, content }) => [declared.path, content?.toString()])
const both = [
  ['a.txt', 'first'],
  ['b/c.txt', 'second'],
]

test('files reach the server before the completion, which names their artifacts; then they are gone from here', async (t) => {
  const { outbox, dataDir, lease, record } = await prepare(t)
  await outbox.put(record)
  await outbox.drained(never)
  assert.deepEqual(stored(lease), both)
  const outputs = lease.completion?.result?.outputs as { path: string; artifactId: string }[]
  assert.deepEqual(
    outputs.map(({ path, artifactId }) => [path, lease.artifacts.get(artifactId)?.declared.path]),
    [
      ['a.txt', 'a.txt'],
      ['b/c.txt', 'b/c.txt'],
    ],
  )
  assert.ok(!existsSync(outputFolder(dataDir, record.token)))
})

test('what a worker could not hand over waits on its disk and is handed over by the next', async (t) => {
  const { enrolled, outbox, server, dataDir, lease, record } = await prepare(t)
  server.intercept = () => 'hang up'
  await outbox.put(record)
  await enrolled.logged('completion_not_sent')
  await outbox.close()
  assert.ok(existsSync(outputFolder(dataDir, record.token)))
  server.intercept = undefined
  const second = await open(t, enrolled, dataDir)
  await second.drained(never)
  assert.deepEqual([stored(lease), lease.completions], [both, 1])
  assert.ok(!existsSync(outputFolder(dataDir, record.token)))
})

test('a full store changes nothing about how the job ended; result and log say what is missing', async (t) => {
  const { outbox, server, lease, record } = await prepare(t)
  server.storageRefusal = 'storage_full'
  await outbox.put(record)
  await outbox.drained(never)
  assert.equal(lease.completion?.outcome, 'succeeded')
  const outputs = lease.completion?.result?.outputs as { stored?: boolean; reason?: string }[]
  assert.deepEqual(
    outputs.map(({ stored, reason }) => [stored, reason]),
    [
      [false, 'storage_full'],
      [false, 'storage_full'],
    ],
  )
  assert.match(server.text(lease, 'system'), /files of \/job\/out are not stored: the team's storage is full/)
})

test('a lease that is lost takes its files along', async (t) => {
  const { outbox, dataDir, lease, record } = await prepare(t)
  lease.verdict = 'lost'
  await outbox.put(record)
  await outbox.drained(never)
  assert.deepEqual([lease.completions, stored(lease)], [0, []])
  assert.ok(!existsSync(outputFolder(dataDir, record.token)))
})

test('a record that names files elsewhere on this machine is no record', async (t) => {
  const { enrolled, outbox, server, dataDir, lease, record } = await prepare(t)
  server.intercept = () => 'hang up'
  await outbox.put({
    ...record,
    outputs: [{ path: 'a', bytes: 1, sha256: 'a'.repeat(64), name: '../../identity/identity.json' }],
  })
  await enrolled.logged('completion_not_sent')
  await outbox.close()
  server.intercept = undefined
  const second = await open(t, enrolled, dataDir)
  await second.drained(never)
  assert.deepEqual([lease.completions, lease.artifacts.size], [0, 0])
})
