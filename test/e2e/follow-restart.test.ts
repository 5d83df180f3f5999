import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job, LogLine } from '@hivesync/contracts/jobs.ts'
import { install, setUp } from './installation.ts'

test('who follows a log while the server is killed and started anew gets every piece of it once', async () => {
  await using hive = await install()
  await setUp(hive)
  await hive.line((line) => line.includes('"worker_ready"'))
  const script = 'i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.2; done'
  const { job } = await hive.json<{ job: Job }>('run', '--no-wait', '--', 'sh', '-c', script)
  await hive.until((line) => line === '3', 'job', 'logs', '-f', job.id)
  const following = hive.json<{ items: LogLine[]; job: Job }>('job', 'logs', '-f', job.id)
  await hive.until((line) => line === '6', 'job', 'logs', '-f', job.id)

  const { server } = await hive.processes()
  process.kill(server, 'SIGKILL')
  await hive.stop()
  await hive.start()

  const { items, job: ended } = await following
  assert.equal(ended.state, 'succeeded')
  assert.deepEqual(
    items.map(({ seq }) => seq),
    items.map((_, i) => i),
  )
  assert.deepEqual(items, (await hive.json<{ items: LogLine[] }>('job', 'logs', job.id)).items)
  const last = items.filter(({ attempt, stream }) => attempt === items.at(-1)?.attempt && stream === 'stdout')
  assert.equal(last.map(({ text }) => text).join(''), Array.from({ length: 40 }, (_, i) => `${i}\n`).join(''))
})
