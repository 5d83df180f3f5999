import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import { describeHive, type Hive, type TestWorker } from '../../test/harness/hive.ts'
import { complete, findDrift, getJob, setTier, submitted } from '../../test/harness/jobs.ts'

const report: WorkerReport = {
  version: '0.1.0',
  labels: [],
  kinds: ['compute'],
  slots: 64,
  isolation: { level: 'full', layers: [], reason: null },
}

async function claimMany(worker: TestWorker, freeSlots: number): Promise<protocol.Claim[]> {
  const body = { report, freeSlots, waitSeconds: 0 }
  return (await worker.call(protocol.claimJobs, { body })).body.jobs
}

async function held(hive: Hive, count: number, isStarted = false) {
  const ada = await hive.person('ada')
  await setTier(hive, ada, 'pro')
  const projectId = await hive.project(ada)
  for (let i = 0; i < count; i++) await submitted(hive, ada, projectId)
  const worker = await hive.worker({ slots: 64 })
  const claims = await claimMany(worker, count)
  assert.equal(claims.length, count)
  const tokens = claims.map(({ token }) => token)
  if (isStarted) await worker.call(protocol.startLeases, { body: { tokens } })
  return { ada, worker, claims, tokens }
}

describeHive('many leases in one request', (open) => {
  test('starting answers for each token, and starting twice changes nothing', async () => {
    await using hive = await open()
    const { ada, worker, claims, tokens } = await held(hive, 3)
    const asked = [...tokens, 2 ** 52]
    for (let i = 0; i < 2; i++) {
      const { body } = await worker.call(protocol.startLeases, { body: { tokens: asked } })
      assert.deepEqual(
        body.leases,
        asked.map((token) => ({ token, verdict: token === 2 ** 52 ? 'lost' : 'ok' })),
      )
    }
    for (const { jobId } of claims) assert.equal((await getJob(hive, ada, jobId)).attempt, 1)
    const other = await (await hive.worker()).call(protocol.startLeases, { body: { tokens } })
    assert.ok(other.body.leases.every(({ verdict }) => verdict === 'lost'))
    assert.deepEqual(await findDrift(hive), [])
  })

  test('completing answers each in the order sent; what is refused or malformed harms nobody else', async () => {
    await using hive = await open()
    const { worker, claims } = await held(hive, 4, true)
    const [a, b, c, d] = claims.map(({ token }) => token)
    assert.ok(a && b && c && d)
    const big = { outcome: 'succeeded' as const, result: { text: 'x'.repeat(protocol.maxCompletionBytes) } }
    const completions: (BodyOf<typeof protocol.completeLease> & { token: number })[] = [
      { token: d, outcome: 'succeeded', result: { exitCode: 0 } },
      { token: 2 ** 52, outcome: 'succeeded' },
      { token: b, ...big },
      { token: a, outcome: 'failed', error: { code: 'exit', message: '1' } },
      { token: a, outcome: 'failed', error: { code: 'exit', message: '1' } },
      { token: a, outcome: 'succeeded' },
      { token: c, outcome: 'returned' },
    ]
    const { body } = await worker.call(protocol.completeLeases, { body: { completions } })
    const said = body.completions.map((item) => ('code' in item ? item.code : item.state))
    assert.deepEqual(said, ['succeeded', 'lease_lost', 'payload_too_large', 'failed', 'failed', 'lease_lost', 'queued'])
    assert.deepEqual(
      body.completions.map(({ token }) => token),
      completions.map(({ token }) => token),
    )
    const again = await worker.call(protocol.completeLeases, { body: { completions: completions.slice(0, 1) } })
    assert.deepEqual(again.body.completions[0], body.completions[0], 'sent again it is answered alike')
    assert.equal((await complete(worker, { token: b })).status, 200, 'what was too large is still held')
    assert.deepEqual(await findDrift(hive), [])
  })

  test('completions of many workers at once end each job once', async () => {
    await using hive = await open()
    const { worker, claims } = await held(hive, 10, true)
    const replies = await Promise.all(claims.flatMap((claim) => [complete(worker, claim), complete(worker, claim)]))
    assert.ok(replies.every(({ status }) => status === 200))
    const events = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('targetId')
      .where('action', '=', 'job.succeeded')
      .execute()
    assert.equal(events.length, 10)
    assert.deepEqual(await findDrift(hive), [])
  })
})
