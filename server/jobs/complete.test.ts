import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import { searchCode } from '@hivesync/contracts/search.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import {
  type Completion,
  complete,
  findDrift,
  getJob,
  repository,
  setTier,
  start,
  submitted,
  take,
} from '../../test/harness/jobs.ts'
import { sweepIndexes } from '../search/search.ts'
import { reapLeases } from './jobs.ts'
import { policy } from './policy.ts'

async function running(hive: Hive, options?: Parameters<typeof submitted>[3]) {
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada)
  const job = await submitted(hive, ada, projectId, options)
  const worker = await hive.worker()
  return { ada, projectId, job, worker, claim: await take(worker) }
}

const countOf = async (hive: Hive, table: 'outbox' | 'auditEvents', action: string) => {
  const db = hive.ctx.db.kysely
  const rows =
    table === 'outbox'
      ? await db.selectFrom('outbox').select('seq').where('topic', '=', action).execute()
      : await db.selectFrom('auditEvents').select('id').where('action', '=', action).execute()
  return rows.length
}

const ingested = { commit: 'a'.repeat(40), branch: 'main', files: 1, bytes: 7 }

async function ingest(hive: Hive, person: Person, projectId: string, worker: TestWorker, text: string) {
  const body = { kind: 'ingest' as const, input: { repository } }
  await hive.call(contract.submitJob, { token: person.token, params: { projectId }, body })
  const claim = await take(worker)
  const upload = { batch: 0, files: [{ path: 'a.txt', language: null, text }] }
  const params = { token: String(claim.token) }
  assert.equal((await worker.call(protocol.uploadIndex, { params, body: upload })).status, 204)
  return claim
}

const found = async (hive: Hive, { token }: Person, q: string) =>
  (await hive.call(searchCode, { token, query: { q } })).body.items.length

describeHive('completing jobs', (open) => {
  test('a success ends the job once, with result, attempt, event, audit and outbox', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    hive.clock.advance(1234)
    const result = { exitCode: 0, nested: { list: [1, 'two', null] } }
    const reply = await complete(worker, claim, { outcome: 'succeeded', result, receipt: { cpuMs: 7 } })
    assert.deepEqual(reply.body, { jobId: job.id, state: 'succeeded' })
    const ended = await getJob(hive, ada, job.id)
    assert.deepEqual([ended.state, ended.result, ended.attempt], ['succeeded', result, 1])
    assert.equal(Date.parse(ended.finishedAt ?? '') - Date.parse(ended.startedAt ?? ''), 1234)
    const { body } = await hive.call(contract.listAttempts, { token: ada.token, params: { jobId: job.id } })
    assert.deepEqual(
      body.items.map(({ outcome, receipt, workerId }) => [outcome, receipt, workerId]),
      [['succeeded', { cpuMs: 7 }, worker.id]],
    )
    assert.equal(await countOf(hive, 'outbox', 'job.succeeded'), 1)
    assert.equal(await countOf(hive, 'auditEvents', 'job.succeeded'), 1)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('the same completion again gets the same answer, one by one and ten at once; its effects happen once', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const body: Completion = { outcome: 'succeeded', result: { a: 1 } }
    const replies = await Promise.all(Array.from({ length: 10 }, () => complete(worker, claim, body)))
    hive.clock.advance(policy.leaseTtlMs)
    replies.push(await complete(worker, claim, body))
    for (const reply of replies) {
      assert.equal(reply.status, 200)
      assert.deepEqual(reply.body, replies[0]?.body)
    }
    assert.equal(await countOf(hive, 'outbox', 'job.succeeded'), 1)
    const other = await complete(worker, claim, { ...body, result: { a: 2 } })
    assert.equal(other.problem.code, 'lease_lost')
    assert.equal((await complete(await hive.worker(), claim, body)).status, 409)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a completion that queued its job again is answered alike, wherever the job has got to', async () => {
    await using hive = await open()
    const { job, worker, claim } = await running(hive)
    const body: Completion = { outcome: 'returned' }
    assert.deepEqual((await complete(worker, claim, body)).body, { jobId: job.id, state: 'queued' })
    await take(await hive.worker())
    assert.deepEqual((await complete(worker, claim, body)).body, { jobId: job.id, state: 'queued' })
    assert.deepEqual(await findDrift(hive), [])
  })

  test('ten different completions at once: one is accepted', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, n) => complete(worker, claim, { outcome: 'succeeded', result: { n } })),
    )
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, ...Array(9).fill(409)])
    const winner = replies.findIndex(({ status }) => status === 200)
    assert.deepEqual((await getJob(hive, ada, job.id)).result, { n: winner })
  })

  test('of a stale worker and the one that took over only the second counts', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    hive.clock.advance(policy.leaseTtlMs)
    await reapLeases(hive.ctx)
    hive.clock.advance(5000)
    const second = await hive.worker()
    const takenOver = await take(second)
    assert.ok(takenOver.token > claim.token)
    const before = await getJob(hive, ada, job.id)
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', result: { by: 'stale' } })).status, 409)
    assert.deepEqual(await getJob(hive, ada, job.id), before)
    assert.equal((await complete(second, takenOver, { outcome: 'succeeded', result: { by: 'second' } })).status, 200)
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', result: { by: 'stale' } })).status, 409)
    assert.deepEqual((await getJob(hive, ada, job.id)).result, { by: 'second' })
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a completion and the reaper at the same moment: exactly one ends the attempt', async () => {
    await using hive = await open()
    const { ada, job, worker } = await running(hive, { maxAttempts: 20 })
    await setTier(hive, ada, 'pro')
    for (let round = 0; round < 2 * policy.maxInfrastructureFailures; round++) {
      const { token } = await hive.ctx.db.kysely.selectFrom('jobLeases').select('token').executeTakeFirstOrThrow()
      hive.clock.advance(policy.leaseTtlMs - (round % 2))
      const [reply] = await Promise.all([complete(worker, { token }, { outcome: 'returned' }), reapLeases(hive.ctx)])
      assert.equal(reply.status, round % 2 === 1 ? 200 : 409)
      assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
      assert.deepEqual(await findDrift(hive), [])
      hive.clock.advance(60_000)
      await take(worker)
    }
  })

  test('failures are retried as often as asked, then the job has failed with the last reason', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive, { maxAttempts: 3 })
    const failed = (message: string): Completion => ({ outcome: 'failed', error: { code: 'exit_code', message } })
    await complete(worker, claim, failed('1'))
    for (const message of ['2', '3']) {
      assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
      hive.clock.advance(20_000)
      await complete(worker, await take(worker), failed(message))
    }
    const ended = await getJob(hive, ada, job.id)
    assert.deepEqual([ended.state, ended.attempt, ended.error], ['failed', 3, { code: 'exit_code', message: '3' }])
  })

  test("the machine's failures have a budget of their own", async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const body: Completion = { outcome: 'failed', infrastructure: true, error: { code: 'disk_full', message: 'full' } }
    await complete(worker, claim, body)
    for (let i = 0; i < policy.maxInfrastructureFailures; i++) {
      assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
      hive.clock.advance(60_000)
      await complete(worker, await take(worker), body)
    }
    assert.equal((await getJob(hive, ada, job.id)).state, 'failed')
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a job given back waits again at once, and spends nothing', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    await complete(worker, claim, { outcome: 'returned' })
    await complete(worker, await take(worker), { outcome: 'returned' })
    await complete(worker, await take(worker), { outcome: 'failed' })
    assert.equal((await getJob(hive, ada, job.id)).state, 'failed')
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a failure that was reported without a start spends an attempt all the same', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada))
    const worker = await hive.worker()
    const [claim] = await worker.claim()
    const reply = await complete(worker, claim ?? { token: 0 }, { outcome: 'failed' })
    assert.equal(reply.body.state, 'failed')
    assert.equal((await getJob(hive, ada, job.id)).attempt, 1)
  })

  test('an ingest is searched from its completion on, and an older index is gone', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    for (const text of ['firstly', 'secondly']) {
      const claim = await ingest(hive, ada, projectId, worker, text)
      assert.equal(await found(hive, ada, text), 0)
      const bad = await complete(worker, claim, { outcome: 'succeeded', result: { commit: 'HEAD' } })
      assert.equal(bad.problem.code, 'invalid_request')
      const body: Completion = { outcome: 'succeeded', result: ingested }
      const replies = await Promise.all([complete(worker, claim, body), complete(worker, claim, body)])
      assert.deepEqual(
        replies.map(({ status }) => status),
        [200, 200],
      )
      assert.equal(await found(hive, ada, text), 1)
    }
    assert.equal(await found(hive, ada, 'firstly'), 0)
    assert.equal(await sweepIndexes(hive.ctx), 0)
  })

  test('an ingest that lost its lease is not served, whatever it uploaded', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const claim = await ingest(hive, ada, projectId, worker, 'phantom')
    hive.clock.advance(policy.leaseTtlMs)
    // Expired but not yet reaped: the index is prepared, and the transaction then refuses.
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', result: ingested })).status, 409)
    await reapLeases(hive.ctx)
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', result: ingested })).status, 409)
    assert.equal(await found(hive, ada, 'phantom'), 0)
    assert.equal(await sweepIndexes(hive.ctx), 1)
    hive.clock.advance(5000)
    const again = await take(worker)
    assert.equal((await start(worker, again)).status, 204)
    assert.equal((await complete(worker, again, { outcome: 'succeeded', result: ingested })).status, 200)
  })
})
