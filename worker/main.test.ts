import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ContractServer, openContractServer } from './test-support/contract-server.ts'
import { makeTestFolder } from './test-support/enrolled-client.ts'
import { startWorker } from './test-support/worker-process.ts'

async function open(t: TestContext) {
  const server = await openContractServer()
  t.after(() => server.close())
  const dataDir = join(await makeTestFolder(t), 'worker')
  const env = (more: Record<string, string> = {}) => ({
    HIVESYNC_WORKER_SERVER: server.origin,
    HIVESYNC_WORKER_DATA: dataDir,
    HIVESYNC_WORKER_TOKEN: server.enrolmentToken,
    HIVESYNC_WORKER_SLOTS: '2',
    ...more,
  })
  return { server, dataDir, env }
}

const submitShell = (server: ContractServer, script: string) =>
  server.submit('compute', { command: ['/bin/sh', '-c', script] })

test('a completion survives kill -9 and is delivered exactly once at the next start', async (t) => {
  const { server, dataDir, env } = await open(t)
  const job = submitShell(server, 'echo done')
  server.intercept = (operation) => (operation === 'completeLease' ? 'hang up' : undefined)
  const first = startWorker(t, env())
  await server.until(() => server.requests.some((seen) => seen.operation === 'completeLease'))
  first.child.kill('SIGKILL')
  assert.equal(await first.ended, 'SIGKILL')
  assert.equal(job.completions, 0)
  server.intercept = undefined
  const second = startWorker(t, env())
  await server.until(() => job.completion)
  await second.logged('job_completed')
  second.child.kill('SIGTERM')
  assert.equal(await second.ended, 0)
  assert.deepEqual([job.completions, job.completion?.outcome, server.text(job)], [1, 'succeeded', 'done\n'])
  assert.deepEqual(await readdir(join(dataDir, 'outbox')), [])
  assert.equal(server.requests.filter((seen) => seen.operation === 'enrolWorker').length, 1)
})

test('SIGTERM lets running jobs end and takes no new ones; a second one gives them back at once', async (t) => {
  const { server, env } = await open(t)
  const [short, long] = [submitShell(server, 'echo begun; sleep 1'), submitShell(server, 'echo begun; sleep 600')]
  const worker = startWorker(t, env())
  const ready = await worker.logged('worker_ready')
  assert.ok(ready.isolation === 'full' || ready.isolation === 'reduced')
  await server.until(() => [short, long].every((job) => server.text(job).includes('begun')))
  worker.child.kill('SIGTERM')
  await worker.logged('worker_draining')
  const late = submitShell(server, 'true')
  await server.until(() => short.completion)
  worker.child.kill('SIGTERM')
  assert.equal(await worker.ended, 0)
  assert.deepEqual([short.completion?.outcome, long.completion?.outcome], ['succeeded', 'returned'])
  assert.equal(late.started, false)
})

test('a worker that was cut off kills its jobs, says so and exits 77', async (t) => {
  const { server, env } = await open(t)
  const job = submitShell(server, 'echo begun; sleep 600')
  const worker = startWorker(t, env())
  await server.until(() => server.text(job) === 'begun\n')
  server.workers.clear()
  assert.equal(await worker.ended, 77)
  const said = worker.events.find(({ event }) => event === 'worker_revoked')
  assert.match(String(said?.fix), /enrol anew/)
  assert.equal(job.completions, 0)
})

test('no second worker runs with the same data folder', async (t) => {
  const { env } = await open(t)
  const first = startWorker(t, env())
  await first.logged('worker_ready')
  const second = startWorker(t, env())
  assert.equal(await second.ended, 78)
  assert.match(second.complaints(), /Another worker is running/)
})

test('a wrong configuration ends with 78 and a line per problem, a wrong token with 78 and its reason', async (t) => {
  const { env } = await open(t)
  const wrong = startWorker(t, env({ HIVESYNC_WORKER_SLOTS: 'many', HIVESYNC_WORKER_TYPO: '1' }))
  assert.equal(await wrong.ended, 78)
  assert.equal(wrong.complaints().trim().split('\n').length, 2)
  const refused = startWorker(t, env({ HIVESYNC_WORKER_TOKEN: 'stolen' }))
  assert.equal(await refused.ended, 78)
  assert.match(refused.complaints(), /wrong, used or expired/)
})
