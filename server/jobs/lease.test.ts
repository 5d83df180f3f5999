import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { drainWorker, revokeWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, getJob, log, progress, start, submitted, take } from '../../test/harness/jobs.ts'
import { extendLeases, reapLeases } from './jobs.ts'
import { policy } from './policy.ts'

const attemptsOf = async (hive: Hive, { token }: Person, jobId: string) =>
  (await hive.call(contract.listAttempts, { token, params: { jobId } })).body.items
const line = { seq: 0, stream: 'stdout' as const, at: 0, text: 'late\n' }

/** A job that a worker runs. */
async function running(hive: Hive, options?: Parameters<typeof submitted>[3]) {
  const ada = await hive.person('ada')
  const job = await submitted(hive, ada, await hive.project(ada), options)
  const worker = await hive.worker()
  return { ada, job, worker, claim: await take(worker) }
}

describeHive('leases', (open) => {
  test('a job that is not started in 30 s goes back, and no attempt is spent', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada))
    const worker = await hive.worker()
    const [claim] = await worker.claim()
    hive.clock.advance(29_999)
    assert.equal(await reapLeases(hive.ctx), 0)
    hive.clock.advance(1)
    assert.equal((await start(worker, claim ?? { token: 0 })).status, 409)
    assert.equal(await reapLeases(hive.ctx), 1)
    assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
    const again = await take(worker)
    assert.equal(again.attempt, 1)
    assert.equal((await getJob(hive, ada, job.id)).attempt, 1)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('starting twice changes nothing', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    hive.clock.advance(1000)
    const before = await getJob(hive, ada, job.id)
    assert.equal((await start(worker, claim)).status, 204)
    assert.deepEqual(await getJob(hive, ada, job.id), before)
  })

  test('a silent worker is lost: its job is tried again three times, then it has failed', async () => {
    await using hive = await open()
    const { ada, job, worker } = await running(hive)
    for (let lost = 1; lost <= policy.maxInfrastructureFailures; lost++) {
      hive.clock.advance(policy.leaseTtlMs)
      assert.equal(await reapLeases(hive.ctx), 1)
      assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
      assert.deepEqual(await worker.claim(), [], 'not at once')
      hive.clock.advance(20_000)
      await take(worker)
    }
    hive.clock.advance(policy.leaseTtlMs)
    await reapLeases(hive.ctx)
    const ended = await getJob(hive, ada, job.id)
    assert.equal(ended.state, 'failed')
    assert.equal(ended.error?.code, 'worker_lost')
    const attempts = await attemptsOf(hive, ada, job.id)
    assert.deepEqual(
      attempts.map(({ number, outcome }) => `${number} ${outcome}`),
      ['1 lost', '2 lost', '3 lost', '4 lost'],
    )
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a lost worker spends nothing of the budget for failures of the work itself', async () => {
    await using hive = await open()
    const { ada, job, worker } = await running(hive, { maxAttempts: 2 })
    hive.clock.advance(policy.leaseTtlMs)
    await reapLeases(hive.ctx)
    for (const state of ['queued', 'failed']) {
      hive.clock.advance(10_000)
      await complete(worker, await take(worker), { outcome: 'failed', error: { code: 'exit', message: '1' } })
      assert.equal((await getJob(hive, ada, job.id)).state, state)
    }
  })

  test('a beat extends what is held, tells to cancel, and names what is lost', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const huge = { token: Number.MAX_SAFE_INTEGER }
    for (let i = 0; i < 4; i++) {
      hive.clock.advance(policy.leaseTtlMs - 1)
      assert.deepEqual(await beat(worker, claim, { token: claim.token + 1 }, huge), ['ok', 'lost', 'lost'])
      assert.equal(await reapLeases(hive.ctx), 0)
    }
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    assert.deepEqual(await beat(worker, claim), ['cancel'])
    assert.deepEqual(await beat(await hive.worker(), claim), ['lost'])
    hive.clock.advance(policy.leaseTtlMs)
    assert.deepEqual(await beat(worker, claim), ['lost'], 'before the reaper has come by')
    assert.equal(await reapLeases(hive.ctx), 1)
    assert.equal((await getJob(hive, ada, job.id)).state, 'canceled')
  })

  test('a beat does not keep a job that was never started', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await submitted(hive, ada, await hive.project(ada))
    const worker = await hive.worker()
    const [claim] = await worker.claim()
    hive.clock.advance(20_000)
    assert.deepEqual(await beat(worker, claim ?? { token: 0 }), ['ok'])
    hive.clock.advance(10_000)
    assert.equal(await reapLeases(hive.ctx), 1)
  })

  test('a beat and a poll say that the worker shall drain', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const { token } = await hive.admin()
    await hive.call(drainWorker, { token, params: { workerId: worker.id } })
    const { body } = await worker.call(protocol.heartbeat, { body: { leases: [claim.token] } })
    assert.equal(body.draining, true)
    assert.equal(body.leases[0]?.verdict, 'ok')
  })

  test('after the loss nothing of the attempt has any effect', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    hive.clock.advance(policy.leaseTtlMs)
    for (const isReaped of [false, true]) {
      if (isReaped) await reapLeases(hive.ctx)
      const before = await getJob(hive, ada, job.id)
      const replies = [
        await start(worker, claim),
        await progress(worker, claim, { phase: 'run', progress: 50 }),
        await log(worker, claim, [line]),
        await complete(worker, claim),
        await worker.call(protocol.uploadIndex, {
          params: { token: String(claim.token) },
          body: { batch: 0, files: [{ path: 'a', language: null, text: 'x' }] },
        }),
      ]
      for (const reply of replies) {
        assert.equal(reply.status, 409)
        assert.equal(reply.problem.code, 'lease_lost')
      }
      assert.deepEqual(await getJob(hive, ada, job.id), before)
    }
    const { body } = await hive.call(contract.readLog, { token: ada.token, params: { jobId: job.id } })
    assert.deepEqual(body.items, [])
  })

  test("another worker's token, and one that never was, are lost", async () => {
    await using hive = await open()
    const { ada, job, claim } = await running(hive)
    const thief = await hive.worker()
    for (const token of [claim.token, 1_000_000, 9_999_999_999_999_998]) {
      const replies = [
        await start(thief, { token }),
        await progress(thief, { token }, { phase: 'run' }),
        await log(thief, { token }, [line]),
        await complete(thief, { token }),
      ]
      for (const reply of replies) assert.equal(reply.status, 409, String(token))
    }
    assert.equal((await getJob(hive, ada, job.id)).state, 'running')
  })

  test('progress is shown, and each phase is timed', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const begun = hive.clock.now()
    for (const report of [
      { phase: 'fetch', progress: 10, message: 'a\0b' },
      { phase: 'fetch', progress: 90 },
      { phase: 'run', progress: 40, message: 'Training… 40%' },
    ]) {
      assert.equal((await progress(worker, claim, report)).status, 204)
      hive.clock.advance(1000)
    }
    const shown = await getJob(hive, ada, job.id)
    assert.deepEqual([shown.phase, shown.progress, shown.message], ['run', 40, 'Training… 40%'])
    await complete(worker, claim)
    const [attempt] = await attemptsOf(hive, ada, job.id)
    assert.deepEqual(
      attempt?.phases.map(({ phase, startedAt, endedAt }) => [
        phase,
        Date.parse(startedAt) - begun,
        Date.parse(endedAt ?? '') - begun,
      ]),
      [
        ['fetch', 0, 2000],
        ['run', 2000, 3000],
      ],
    )
  })

  test('a worker that reports progress without end does not fill the disk: what is too much is shown and not kept', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const db = hive.ctx.db.kysely
    // Beginning a phase is an event of its own, at most fifty of an attempt.
    await progress(worker, claim, { phase: 'run', progress: 1 })
    const event = { jobId: job.id, at: 0, kind: 'progress', data: '{"phase":"run","progress":1,"message":null}' }
    for (let i = 0; i < policy.maxProgressEvents; i += 1000)
      await db.insertInto('jobEvents').values(Array(1000).fill(event)).execute()
    const count = async () =>
      (await db.selectFrom('jobEvents').select('seq').where('jobId', '=', job.id).execute()).length
    const before = await count()
    assert.equal((await progress(worker, claim, { phase: 'run', progress: 77 })).status, 204)
    assert.equal(await count(), before)
    assert.equal((await getJob(hive, ada, job.id)).progress, 77)
    await complete(worker, claim)
    assert.equal(await count(), before + 1)
  })

  test('after a restart every lease gets one more life', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    hive.clock.advance(10 * policy.leaseTtlMs)
    await extendLeases(hive.ctx)
    assert.equal(await reapLeases(hive.ctx), 0)
    assert.deepEqual(await beat(worker, claim), ['ok'])
    assert.equal((await complete(worker, claim)).status, 200)
  })

  test('a revoked worker is cut off, and what it held goes to others at once', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const { token } = await hive.admin()
    assert.equal((await hive.call(revokeWorker, { token, params: { workerId: worker.id } })).status, 204)
    for (const reply of [await complete(worker, claim), await start(worker, claim)]) {
      assert.equal(reply.status, 401)
      assert.equal(reply.problem.code, 'worker_revoked')
    }
    const queued = await getJob(hive, ada, job.id)
    assert.equal(queued.state, 'queued')
    hive.clock.advance(5000)
    assert.equal((await (await hive.worker()).claim())[0]?.jobId, job.id)
    assert.equal((await hive.call(revokeWorker, { token, params: { workerId: worker.id } })).status, 404)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a beat and the reaper at the same moment never both win', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    for (let round = 0; round < 10; round++) {
      hive.clock.advance(policy.leaseTtlMs - 1)
      const beats = Array.from({ length: 4 }, () => beat(worker, claim))
      const [verdicts] = await Promise.all([Promise.all(beats), reapLeases(hive.ctx)])
      assert.deepEqual(new Set(verdicts.flat()), new Set(['ok']))
    }
    hive.clock.advance(policy.leaseTtlMs)
    const [verdicts] = await Promise.all([beat(worker, claim), reapLeases(hive.ctx), reapLeases(hive.ctx)])
    assert.deepEqual(verdicts, ['lost'])
    assert.equal((await attemptsOf(hive, ada, job.id)).length, 1)
    assert.deepEqual(await findDrift(hive), [])
  })
})
