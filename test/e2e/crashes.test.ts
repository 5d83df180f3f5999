import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job, JobAttempt } from '@hivesync/contracts/jobs.ts'
import { onEachDatabase } from '../../server/platform/db/test-databases.ts'
import { type Installation, install, setUp } from './installation.ts'

onEachDatabase((_open, { createUrl }) => {
  test('a server killed in the middle of a job finds it again, and the job ends exactly once', async () => {
    await using hive = await install({ HIVESYNC_DATABASE_URL: await createUrl() })
    await setUp(hive)
    await hive.line((line) => line.includes('"worker_ready"'))
    const job = await submitSlow(hive)
    await untilRunning(hive, job.id)

    const { server } = await hive.processes()
    process.kill(server, 'SIGKILL')
    await hive.stop()
    await hive.start()

    const ended = await untilEnded(hive, job.id)
    assert.ok(['succeeded', 'failed'].includes(ended.state), ended.state)
    await requireOneEnd(hive, job.id)
  })

  test('a worker killed in the middle of a job does not keep it: it runs again elsewhere or later, and ends once', async () => {
    await using hive = await install({ HIVESYNC_DATABASE_URL: await createUrl() })
    await setUp(hive)
    await hive.line((line) => line.includes('"worker_ready"'))
    const job = await submitSlow(hive)
    await untilRunning(hive, job.id)

    const { worker } = await hive.processes()
    assert.ok(worker)
    process.kill(worker, 'SIGKILL')

    const ended = await untilEnded(hive, job.id)
    const attempts = await hive.json<{ items: JobAttempt[] }>('job', 'attempts', job.id)
    assert.equal(ended.state, 'succeeded', JSON.stringify({ ended, attempts, lines: hive.lines() }, null, 1))
    assert.deepEqual(
      attempts.items.map(({ outcome }) => outcome),
      ['lost', 'succeeded'],
    )
    await requireOneEnd(hive, job.id)
  })
})

async function submitSlow(hive: Installation): Promise<Job> {
  const { job } = await hive.json<{ job: Job }>('run', '--no-wait', '--', 'sh', '-c', 'echo begun; sleep 4; echo done')
  return job
}

async function untilRunning(hive: Installation, jobId: string): Promise<void> {
  await hive.until((line) => line.includes('begun'), 'job', 'logs', '-f', jobId)
}

async function untilEnded(hive: Installation, jobId: string): Promise<Job> {
  await hive.cli('job', 'watch', jobId)
  return hive.json<Job>('job', 'get', jobId)
}

async function requireOneEnd(hive: Installation, jobId: string): Promise<void> {
  const attempts = await hive.json<{ items: JobAttempt[] }>('job', 'attempts', jobId)
  const accepted = attempts.items.filter(({ outcome }) => outcome === 'succeeded' || outcome === 'failed')
  assert.equal(accepted.length, 1)
}
