import assert from 'node:assert/strict'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger } from '../logger.ts'
import { makeTestFolder } from '../test-support/enrolled-client.ts'
import { diskOf, readRuntimes } from './capabilities.ts'
import { createReadiness } from './readiness.ts'

const mebibyte = 1024 * 1024

async function open(t: TestContext, limits: { outboxMaxBytes?: number; minFreeBytes?: number | null }) {
  const dataDir = await makeTestFolder(t)
  const events: string[] = []
  const log = createLogger(
    (line) => events.push(JSON.parse(line).event),
    () => 0,
  )
  const readiness = createReadiness({ dataDir, log, outboxMaxBytes: 1024 * mebibyte, minFreeBytes: 0, ...limits })
  return { dataDir, events, readiness }
}

test('results that wait for the server, and their files, are counted; when they fill their share no more jobs are taken, and none is deleted', async (t) => {
  const { dataDir, events, readiness } = await open(t, { outboxMaxBytes: 3 * mebibyte })
  assert.equal(await readiness.refusal(), undefined)
  await mkdir(join(dataDir, 'outbox'))
  await mkdir(join(dataDir, 'outputs', '7'), { recursive: true })
  await writeFile(join(dataDir, 'outbox', '7.json'), Buffer.alloc(mebibyte))
  assert.equal(await readiness.refusal(), undefined)
  await writeFile(join(dataDir, 'outputs', '7', '1'), Buffer.alloc(2 * mebibyte))
  assert.match((await readiness.refusal()) ?? '', /3 MiB.*OUTBOX_MAX_MB/)
  assert.equal(readiness.storedBytes, 3 * mebibyte)
  assert.deepEqual(await readdir(join(dataDir, 'outputs', '7')), ['1'])
  await readiness.refusal()
  await rm(join(dataDir, 'outputs', '7'), { recursive: true })
  assert.equal(await readiness.refusal(), undefined)
  assert.deepEqual(events, ['jobs_refused', 'jobs_taken_again'], 'told once each, not with every poll')
})

test('a disk with less room than there must be takes no jobs', async (t) => {
  const folder = await makeTestFolder(t)
  const { freeBytes } = await diskOf(folder)
  const { readiness } = await open(t, { minFreeBytes: freeBytes * 2 })
  assert.match((await readiness.refusal()) ?? '', /MIN_FREE_MB/)
})

test('versions are read whatever else an interpreter says', () => {
  assert.deepEqual(readRuntimes('node v24.21.0\nnpm 11.0.0\npython3 Python 3.11.2\nsh /usr/bin/dash\n'), {
    ...{ node: '24.21.0', npm: '11.0.0', python3: '3.11.2', sh: 'dash' },
  })
  assert.deepEqual(readRuntimes('perl 5\nnode \n__proto__ 1\n'), {})
  assert.equal(readRuntimes(`node v${'9'.repeat(200)}`).node?.length, 60)
})
