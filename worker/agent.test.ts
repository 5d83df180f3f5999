import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { runAgent } from './agent.ts'
import { systemClock } from './clock.ts'
import { parseWorkerConfig } from './config.ts'
import { systemRandom } from './enrol/random.ts'
import { createTransport } from './report/http-transport.ts'
import { testId } from './test-support/contract-server.ts'
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
  assert.deepEqual(server.requests[0]?.body.report, {
    version: '1.2.3',
    labels: ['gpu'],
    kinds: ['ingest', 'compute'],
    slots: 3,
    isolation: { level: 'none', layers: [], reason },
  })
  drain.abort(new Error('stopped'))
  assert.deepEqual(await ended, { revoked: false })
  assert.ok(events.some(({ event }) => event === 'worker_stopped'))
})
