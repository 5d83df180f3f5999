import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as jobs from '@hivesync/contracts/jobs.ts'
import { countedBytes, leave, storedKeys } from '../../test/harness/files.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, log, submit, submitted, take } from '../../test/harness/jobs.ts'
import { forgetJobs, forgetLogs } from './jobs.ts'

const dayMs = 24 * 3_600_000

describeHive('what has ended', (open) => {
  async function ended(hive: Hive) {
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const job = await submitted(hive, ada, projectId)
    const worker = await hive.worker()
    const claim = await take(worker)
    await log(worker, claim, [{ seq: 0, stream: 'stdout', at: hive.clock.now(), text: 'hello\n' }])
    await leave(worker, claim, { report: Buffer.from('golden') })
    await complete(worker, claim)
    return { ada, projectId, job, worker }
  }
  const read = async (hive: Hive, ada: Person, jobId: string) =>
    (await hive.call(jobs.readLog, { token: ada.token, params: { jobId }, query: {} })).body.items.map(
      ({ text }) => text,
    )
  const stateOf = async (hive: Hive, ada: Person, jobId: string) =>
    (await hive.call(jobs.getJob, { token: ada.token, params: { jobId } })).status

  test('keeps its output for thirty days, and a line in its place afterwards', async () => {
    await using hive = await open()
    const { job } = await ended(hive)
    hive.clock.advance(30 * dayMs)
    assert.equal(await forgetLogs(hive.ctx), 0)
    hive.clock.advance(1)
    assert.equal(await forgetLogs(hive.ctx), 1)
    const again = await hive.logInAgain('ada')
    assert.deepEqual(await read(hive, again, job.id), ['The output was kept for 30 days.\n'])
    assert.equal(await forgetLogs(hive.ctx), 0)
    assert.equal(await stateOf(hive, again, job.id), 200)
  })

  test('is forgotten after ninety days with its files and their bytes, and what still waits or runs is not', async () => {
    await using hive = await open()
    const { projectId, job, ada } = await ended(hive)
    const waiting = await submitted(hive, ada, projectId, { ttlSeconds: 30 * 86_400 })
    assert.equal((await storedKeys(hive)).length, 1)
    hive.clock.advance(90 * dayMs)
    assert.equal(await forgetJobs(hive.ctx), 0)
    hive.clock.advance(1)
    assert.equal(await forgetJobs(hive.ctx), 1)
    const again = await hive.logInAgain('ada')
    assert.equal(await stateOf(hive, again, job.id), 404)
    assert.equal(await stateOf(hive, again, waiting.id), 200)
    assert.deepEqual([await storedKeys(hive), await countedBytes(hive, ada)], [[], 0])
    // The audit log keeps what was done.
    const acts = hive.ctx.db.kysely.selectFrom('auditEvents').select('action').where('targetId', '=', job.id)
    assert.ok((await acts.execute()).length >= 2)
  })

  test('is kept for ever where the operator says so', async () => {
    await using hive = await open({ config: { retention: { jobDays: null, logDays: null } } })
    const { job } = await ended(hive)
    hive.clock.advance(4000 * dayMs)
    assert.deepEqual([await forgetLogs(hive.ctx), await forgetJobs(hive.ctx)], [0, 0])
    assert.equal(await stateOf(hive, await hive.logInAgain('ada'), job.id), 200)
  })

  test('goes by the hundreds, in small transactions, and two replicas share the work', async () => {
    await using hive = await open()
    const { ada, projectId } = await ended(hive)
    await hive.ctx.db.kysely.updateTable('queueCounters').set({ maxWaiting: 1000 }).execute()
    for (let i = 0; i < 50; i++) await submit(hive, ada, projectId)
    await hive.ctx.db.kysely
      .updateTable('jobs')
      .set({ state: 'canceled', finishedAt: hive.clock.now() })
      .where('finishedAt', 'is', null)
      .execute()
    await hive.ctx.db.kysely.deleteFrom('jobQueue').execute()
    hive.clock.advance(91 * dayMs)
    const counts = await Promise.all([forgetJobs(hive.ctx), forgetJobs(hive.ctx)])
    assert.equal(counts[0] + counts[1] + (await forgetJobs(hive.ctx)), 51)
    assert.deepEqual(await hive.ctx.db.kysely.selectFrom('jobs').select('id').execute(), [])
  })
})
