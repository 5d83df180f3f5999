import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Job, JobAttempt } from '@hivesync/contracts/jobs.ts'
import type { Enrolment, Worker } from '@hivesync/contracts/workers.ts'
import { type Installation, install, setUp } from './installation.ts'

const script = join(import.meta.dirname, '..', '..', 'start', 'worker-process.ts')

/** A worker with a disk of its own and the token that all of them share; resolves with its exit code and what it complained about. */
async function runPod(t: TestContext, hive: Installation, name: string, tokenFile: string) {
  const child = spawn(process.execPath, [script], {
    env: {
      PATH: process.env.PATH,
      HIVESYNC_WORKER_SERVER: hive.url,
      HIVESYNC_WORKER_DATA: join(hive.folder, name),
      HIVESYNC_WORKER_TOKEN_FILE: tokenFile,
      HIVESYNC_WORKER_SLOTS: '1',
      HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '2',
    },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  t.after(() => child.kill('SIGKILL'))
  let complaints = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    complaints += chunk.toString()
  })
  const [code] = await once(child, 'close')
  return { code, complaints }
}

test('three machines enrol at once with one token, run what waits, end when idle, and are gone from the list', async (t) => {
  await using hive = await install({ HIVESYNC_EMBEDDED_WORKER: '0' })
  await setUp(hive)
  const fleet = ['worker', 'enrol', 'swarm', '--uses', '3', '--ephemeral']
  const { enrolmentToken } = await hive.json<{ enrolmentToken: string }>(...fleet)
  const tokenFile = join(hive.folder, 'token')
  await writeFile(tokenFile, enrolmentToken, { mode: 0o600 })
  const jobIds: string[] = []
  for (let count = 0; count < 3; count++) {
    const { job } = await hive.json<{ job: Job }>('run', '--no-wait', '--', 'sh', '-c', 'sleep 1; echo done')
    jobIds.push(job.id)
  }
  const pods = await Promise.all(['one', 'two', 'three'].map((name) => runPod(t, hive, name, tokenFile)))
  assert.deepEqual(
    pods.map(({ code }) => code),
    [0, 0, 0],
    JSON.stringify(pods),
  )
  for (const id of jobIds) {
    assert.equal((await hive.json<Job>('job', 'get', id)).state, 'succeeded')
    const [attempt] = (await hive.json<{ items: JobAttempt[] }>('job', 'attempts', id)).items
    assert.match(attempt?.workerName ?? '', /^swarm-[123]$/, 'history keeps the name')
  }
  assert.deepEqual((await hive.json<{ items: Worker[] }>('worker', 'ls')).items, [])
  const [token] = (await hive.json<{ items: Enrolment[] }>('worker', 'enrolments')).items
  assert.deepEqual([token?.state, token?.uses, token?.workers], ['used', 3, 0])
  const late = await runPod(t, hive, 'four', tokenFile)
  assert.equal(late.code, 78)
  assert.match(late.complaints, /wrong, used or expired/)
})
