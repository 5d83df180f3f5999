import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { runAgent } from './agent.ts'
import { systemClock } from './clock.ts'
import { parseWorkerConfig } from './config.ts'
import { systemRandom } from './enrol/random.ts'
import { createTransport } from './report/http-transport.ts'
import { testId } from './test-support/contract-request.ts'
import { makeTestFolder, openEnrolled } from './test-support/enrolled-client.ts'

test('a machine that cannot isolate connects all the same and reports why and what would help', async (t) => {
  const { server, log, events, logged } = await openEnrolled(t)
  const keys = generateEncodedKeyPair()
  server.workers.set(testId(902), { publicKey: keys.publicKey, name: 'bare' })
  const config = parseWorkerConfig({
    HIVESYNC_WORKER_SERVER: server.origin,
    HIVESYNC_WORKER_DATA: await makeTestFolder(t),
    HIVESYNC_WORKER_SLOTS: '3',
    HIVESYNC_WORKER_LABELS: 'gpu',
    HIVESYNC_WORKER_POOL: 'edge',
  })
  const transport = createTransport({ origin: server.origin, clock: systemClock })
  t.after(() => transport.close())
  const reason = 'The sandbox needs bwrap. sudo apt-get install -y bubblewrap'
  const current = async () => ({ level: 'none' as const, layers: [], reason })
  const drain = new AbortController()
  const ended = runAgent({
    ...{ config, transport, log, clock: systemClock, random: systemRandom, version: '1.2.3', drain: drain.signal },
    identity: { server: server.origin, workerId: testId(902), name: 'bare', keys },
    isolation: { sandbox: undefined, level: 'none', current, close: async () => {} },
    hurry: new AbortController().signal,
  })
  await logged('worker_ready')
  await logged('jobs_refused')
  const [first] = server.requests
  assert.ok(first)
  const { capabilities, clockSkewMs, ...report } = first.body.report as WorkerReport
  assert.deepEqual(report, {
    version: '1.2.3',
    labels: ['gpu'],
    kinds: ['ingest', 'compute'],
    slots: 3,
    isolation: { level: 'none', layers: [], reason },
    pool: 'edge',
  })
  assert.equal(clockSkewMs, undefined, 'nothing is known of the clock before the first answer')
  assert.equal(capabilities?.cores, availableParallelism())
  assert.ok((capabilities?.freeDiskMiB ?? 0) > 0 && (capabilities?.memoryMiB ?? 0) > 0)
  assert.deepEqual([capabilities?.cgroups, capabilities?.runtimes], ['none', {}])
  drain.abort(new Error('stopped'))
  assert.deepEqual(await ended, { cutOff: undefined })
  assert.ok(events.some(({ event }) => event === 'worker_stopped'))
})
