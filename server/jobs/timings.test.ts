import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import { describeHive } from '../../test/harness/hive.ts'
import { complete, getJob, progress, start, submitted } from '../../test/harness/jobs.ts'

describeHive('the timings of a job', (open) => {
  test('are where its time went: in the queue, in each attempt and in its phases, up to now while it goes on', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const worker = await hive.worker()
    const job = await submitted(hive, ada, await hive.project(ada))
    hive.clock.advance(300)
    const waiting = (await getJob(hive, ada, job.id)).timings
    assert.deepEqual(waiting, { queueToStartMs: null, waitingMs: 300, totalMs: 300, attempts: [] })

    const [first] = await worker.claim()
    assert.ok(first !== undefined)
    hive.clock.advance(20)
    await start(worker, first)
    hive.clock.advance(5)
    await progress(worker, first, { phase: 'fetch' })
    hive.clock.advance(40)
    await progress(worker, first, { phase: 'run' })
    hive.clock.advance(600)
    const phases = [
      { phase: 'fetch', ms: 40 },
      { phase: 'run', ms: 600 },
    ]
    const running = { phases, startMs: 20, totalMs: 665 }
    assert.deepEqual((await getJob(hive, ada, job.id)).timings, {
      ...{ queueToStartMs: 320, waitingMs: 300, totalMs: 965 },
      attempts: [{ number: 1, ...running }],
    })

    await complete(worker, first, { outcome: 'returned' })
    hive.clock.advance(7000)
    assert.deepEqual((await getJob(hive, ada, job.id)).timings, {
      ...{ queueToStartMs: 320, waitingMs: 7300, totalMs: 7965 },
      attempts: [{ number: 1, ...running }],
    })

    const [second] = await worker.claim()
    assert.ok(second !== undefined)
    hive.clock.advance(10)
    await start(worker, second)
    hive.clock.advance(30)
    await complete(worker, second)
    hive.clock.advance(50_000)
    assert.deepEqual((await getJob(hive, ada, job.id)).timings, {
      ...{ queueToStartMs: 320, waitingMs: 7300, totalMs: 8005 },
      attempts: [
        { number: 1, ...running },
        { number: 2, startMs: 10, totalMs: 40, phases: [] },
      ],
    })
  })

  test('count its last wait where it ended in the queue', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const worker = await hive.worker()
    const job = await submitted(hive, ada, await hive.project(ada))
    const [claim] = await worker.claim()
    assert.ok(claim !== undefined)
    hive.clock.advance(10)
    await complete(worker, claim, { outcome: 'returned' })
    hive.clock.advance(500)
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    hive.clock.advance(9000)
    assert.deepEqual((await getJob(hive, ada, job.id)).timings, {
      ...{ queueToStartMs: null, waitingMs: 500, totalMs: 510 },
      attempts: [{ number: 1, startMs: null, totalMs: 10, phases: [] }],
    })
  })
})
