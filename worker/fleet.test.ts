import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { problem } from './test-support/contract-request.ts'
import { openContractServer } from './test-support/contract-server.ts'
import { makeTestFolder } from './test-support/enrolled-client.ts'
import { startWorker } from './test-support/worker-process.ts'

/** A server with a token for a fleet, in a file that the workers share, as a pod's secret is. */
async function openFleet(t: TestContext) {
  const server = await openContractServer()
  t.after(() => server.close())
  server.fleet = 'swarm'
  const folder = await makeTestFolder(t)
  const tokenFile = join(folder, 'token')
  await writeFile(tokenFile, server.enrolmentToken, { mode: 0o600 })
  const env = (name: string, more: Record<string, string> = {}) => ({
    HIVESYNC_WORKER_SERVER: server.origin,
    HIVESYNC_WORKER_DATA: join(folder, name),
    HIVESYNC_WORKER_TOKEN_FILE: tokenFile,
    HIVESYNC_WORKER_SLOTS: '2',
    ...more,
  })
  const identityFile = (name: string) => join(folder, name, 'identity', 'identity.json')
  return { server, folder, tokenFile, env, identityFile }
}

const enrolments = (server: { requests: { operation: string }[] }) =>
  server.requests.filter(({ operation }) => operation === 'enrolWorker').length

test('a worker of a fleet runs a job, is idle, signs off, forgets its identity and ends with 0; the token stays', async (t) => {
  const { server, tokenFile, env, identityFile } = await openFleet(t)
  const job = server.submit('compute', { command: ['/bin/sh', '-c', 'sleep 2; echo done'] })
  const worker = startWorker(t, env('pod', { HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '1' }))
  assert.equal(await worker.ended, 0)
  assert.deepEqual([job.completion?.outcome, server.text(job)], ['succeeded', 'done\n'])
  assert.equal(server.requests.at(-1)?.operation, 'signOff')
  assert.deepEqual([server.workers.size, existsSync(identityFile('pod')), existsSync(tokenFile)], [0, false, true])
  const said = (event: string) => worker.events.find((line) => line.event === event)
  assert.equal(said('pool_given')?.name, 'swarm')
  assert.ok(said('worker_idle') && said('worker_signed_off'))
})

test('a worker that stays ends when idle too, and keeps its identity', async (t) => {
  const { server, env, identityFile } = await openFleet(t)
  server.fleet = undefined
  const worker = startWorker(t, env('laptop', { HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '1' }))
  assert.equal(await worker.ended, 0)
  assert.deepEqual([server.workers.size, existsSync(identityFile('laptop'))], [1, true])
})

test('one killed between its enrolment and its first poll goes on with its identity, or enrols anew when its disk is gone', async (t) => {
  const { server, env, identityFile } = await openFleet(t)
  server.intercept = (operation) => (operation === 'claimJobs' ? 'hang up' : undefined)
  const killed = startWorker(t, env('pod'))
  await server.until(() => server.requests.some(({ operation }) => operation === 'claimJobs'))
  killed.child.kill('SIGKILL')
  assert.equal(await killed.ended, 'SIGKILL')
  const { workerId } = JSON.parse(await readFile(identityFile('pod'), 'utf8'))
  server.intercept = undefined
  const again = startWorker(t, env('pod'))
  assert.equal((await again.logged('worker_ready')).workerId, workerId)
  assert.equal(enrolments(server), 1)
  const elsewhere = startWorker(t, env('other'))
  assert.notEqual((await elsewhere.logged('worker_ready')).workerId, workerId)
  for (const worker of [again, elsewhere]) {
    worker.child.kill('SIGTERM')
    assert.equal(await worker.ended, 0)
  }
  assert.equal(server.workers.size, 0, 'SIGTERM makes them sign off, too')
})

test('one whose sign-off is not answered ends all the same, and enrols anew', async (t) => {
  const { server, env, identityFile } = await openFleet(t)
  server.intercept = (operation) => (operation === 'signOff' ? problem(401, 'worker_revoked') : undefined)
  const worker = startWorker(t, env('pod', { HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '1' }))
  assert.equal(await worker.ended, 0, 'it was heard before, and the answer lost')
  server.intercept = (operation) => (operation === 'signOff' ? 'hang up' : undefined)
  const unheard = startWorker(t, env('pod', { HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '1' }))
  assert.equal(await unheard.ended, 0)
  assert.ok(unheard.events.some(({ event }) => event === 'not_signed_off'))
  assert.deepEqual([enrolments(server), existsSync(identityFile('pod'))], [2, false])
})

test('a job still running after HIVESYNC_WORKER_DRAIN_SECONDS is given back', async (t) => {
  const { server, env } = await openFleet(t)
  const job = server.submit('compute', { command: ['/bin/sh', '-c', 'echo begun; sleep 600'] })
  const worker = startWorker(t, env('pod', { HIVESYNC_WORKER_DRAIN_SECONDS: '1' }))
  await server.until(() => server.text(job) === 'begun\n')
  worker.child.kill('SIGTERM')
  assert.equal(await worker.ended, 0)
  assert.equal(job.completion?.outcome, 'returned')
  assert.equal(server.requests.at(-1)?.operation, 'signOff')
})

test('idle on a machine that can run no jobs ends with 69, so that nobody takes it for done', async (t) => {
  const { env } = await openFleet(t)
  const full = { HIVESYNC_WORKER_MIN_FREE_MB: '1048576' }
  const worker = startWorker(t, env('pod', { HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS: '1', ...full }))
  assert.equal(await worker.ended, 69)
  assert.ok(
    worker.events.some(({ event, reason }) => event === 'idle_in_vain' && String(reason).includes('of the disk')),
  )
})

test('at the new address of its server a worker whose key has expired ends with 76, one that is unknown there with 78', async (t) => {
  const { server, env } = await openFleet(t)
  const first = startWorker(t, env('edge'))
  await first.logged('worker_ready')
  first.child.kill('SIGKILL')
  await first.ended
  const moved = await openContractServer()
  t.after(() => moved.close())
  const there = env('edge', { HIVESYNC_WORKER_SERVER: moved.origin, HIVESYNC_WORKER_MOVED_FROM: server.origin })
  moved.intercept = () => problem(401, 'worker_key_expired')
  const expired = startWorker(t, there)
  assert.equal(await expired.ended, 76)
  assert.ok(expired.events.some(({ event }) => event === 'worker_key_expired'))
  moved.intercept = undefined
  const unknown = startWorker(t, there)
  assert.equal(await unknown.ended, 78)
  assert.match(unknown.complaints(), /does not know this worker/)
})
