import assert from 'node:assert/strict'
import test from 'node:test'
import { cancelJobs, retryJobs } from '@hivesync/contracts/bulk.ts'
import { submitJob } from '@hivesync/contracts/jobs.ts'
import { createSchedule } from '@hivesync/contracts/schedules.ts'
import { Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { idOf, jobOf } from '../sdk/test-support/samples.ts'
import { makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'

test('job cancel --all goes on until nothing is left, and says what the filter says', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const asked: unknown[] = []
  peer.on(cancelJobs, ({ body }) => {
    asked.push(body)
    return { canceled: 500, asked: 1, refused: [], remaining: asked.length === 1 ? 7 : 0 }
  })
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const run = await home.run(['job', 'cancel', '--all', '-s', 'queued', '--label', 'arm', '--json'], { env })
  assert.deepEqual(JSON.parse(run.stdout), { canceled: 1000, asked: 2, refused: [], remaining: 0 })
  const body = { filter: { state: 'queued', labels: ['arm'] }, limit: 500 }
  assert.deepEqual(asked, [body, body])
  for (const wrong of [
    [],
    ['--all', idOf(5)],
    [idOf(5), '--label', 'arm'],
    ['--all', '-s', 'failed'],
    ['--all', '-k', 'x'],
  ])
    assert.equal((await home.run(['job', 'cancel', ...wrong], { env })).code, 2, wrong.join(' '))
})

test('job retry --failed stops where the queue is full, and retries nothing that ends meanwhile', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const asked: { finishedBefore?: string; errorCode?: string; state?: string }[] = []
  peer.on(retryJobs, ({ body }) => {
    asked.push(body.filter)
    const refused = asked.length === 1 ? [] : [{ jobId: idOf(5), code: 'queue_full' }]
    return { retried: 3, refused, remaining: 9 }
  })
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const { code, stdout } = await home.run(['job', 'retry', '--failed', '--error', 'exit'], { env })
  assert.deepEqual([code, asked.length], [0, 2])
  assert.match(stdout, /Queued 6 of .* again; 9 are left\. The queue is full/)
  assert.deepEqual([asked[0]?.state, asked[0]?.errorCode], ['failed', 'exit'])
  assert.ok(asked[0]?.finishedBefore !== undefined && asked[0].finishedBefore === asked[1]?.finishedBefore)
  for (const wrong of [[], ['--failed', '--skipped'], ['--failed', idOf(5)], [idOf(5), '--error', 'exit']])
    assert.equal((await home.run(['job', 'retry', ...wrong], { env })).code, 2, wrong.join(' '))
})

test('a submission and a schedule say pool, labels, priority, time to live, retries and backoff', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const asked: unknown[] = []
  peer.on(submitJob, ({ body }) => {
    const { kind: _kind, input: _input, ...settings } = body
    asked.push(settings)
    return jobOf()
  })
  const served: unknown[] = []
  peer.on(createSchedule, ({ body }) => {
    served.push(body)
    throw new Refusal('too_many_schedules')
  })
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const options = ['--pool', 'gpu', '--label', 'arm', '--priority', '7', '--ttl', '2h', '--retries', '3', '--no-wait']
  await home.run(['run', ...options, '--backoff', '30s', '--', 'true'], { env })
  await home.run(['ingest', 'https://example.org/a.git', ...options, '--backoff', '10s..5m'], { env })
  const settings = { pool: 'gpu', labels: ['arm'], priority: 7, ttlSeconds: 7200, maxAttempts: 4 }
  assert.deepEqual(asked, [
    { ...settings, backoff: { strategy: 'fixed', seconds: 30 } },
    { ...settings, backoff: { strategy: 'exponential', seconds: 10, maxSeconds: 300 } },
  ])
  for (const wrong of [
    ['--backoff', 'soon'],
    ['--backoff', '1..2..3'],
    ['--retries', '20'],
    ['--priority', '10'],
  ])
    assert.equal((await home.run(['run', ...wrong, '--', 'true'], { env })).code, 2, wrong.join(' '))
  await home.run(['schedule', 'add', 'n', '0 3 * * *', '--missed', 'once', '--', 'make', '-j'], { env })
  assert.deepEqual(served, [
    {
      name: 'n',
      cron: '0 3 * * *',
      missedRuns: 'run_once',
      job: { kind: 'compute', input: { command: ['make', '-j'] } },
    },
  ])
  for (const wrong of [
    [],
    ['--missed', 'twice', '--', 'a'],
    ['--ref', 'main', '--', 'a'],
    ['--ingest', 'u', '--', 'a'],
  ])
    assert.equal((await home.run(['schedule', 'add', 'n', '* * * * *', ...wrong], { env })).code, 2, wrong.join(' '))
})
