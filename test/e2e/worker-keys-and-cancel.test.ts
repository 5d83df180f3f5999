import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Job, JobAttempt } from '@hivesync/contracts/jobs.ts'
import type { Worker } from '@hivesync/contracts/workers.ts'
import { type Installation, install, setUp } from './installation.ts'

const keyOf = async (hive: Installation): Promise<string> =>
  JSON.parse(await readFile(join(hive.dataDir, 'worker', 'identity', 'identity.json'), 'utf8')).keys.publicKey

test('a cancel ends a running sandbox, and a worker told to change its key works on with the new one', async () => {
  await using hive = await install()
  await setUp(hive)
  await hive.line((line) => line.includes('"worker_ready"'))
  const run = ['run', '--no-wait', '--', 'sh', '-c', 'echo begun; sleep 3600']
  const { job } = await hive.json<{ job: Job }>(...run)
  await hive.until((line) => line.includes('begun'), 'job', 'logs', '-f', job.id)
  await hive.json('job', 'cancel', job.id)
  await hive.cli('job', 'watch', job.id)
  assert.equal((await hive.json<Job>('job', 'get', job.id)).state, 'canceled')
  const attempts = await hive.json<{ items: JobAttempt[] }>('job', 'attempts', job.id)
  assert.deepEqual(
    attempts.items.map(({ outcome }) => outcome),
    ['canceled'],
  )
  await hive.line((line) => line.includes('"job_cancel_requested"'))

  const before = await keyOf(hive)
  const [worker] = (await hive.json<{ items: Worker[] }>('worker', 'ls')).items
  assert.ok(worker?.keyExpiresAt && worker.capabilities?.runtimes.sh)
  await hive.json('worker', 'request-rotation', worker.id)
  await hive.line((line) => line.includes('"key_replaced"'))
  assert.notEqual(await keyOf(hive), before)
  const after = await hive.json<{ job: Job }>('run', '--no-wait', '--', 'true')
  await hive.cli('job', 'watch', after.job.id)
  assert.equal((await hive.json<Job>('job', 'get', after.job.id)).state, 'succeeded')
})
