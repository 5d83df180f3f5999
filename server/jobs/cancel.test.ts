import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, getJob, setTier, submit, submitted, take } from '../../test/harness/jobs.ts'
import { reapLeases, skipExpired } from './jobs.ts'
import { policy } from './policy.ts'

const cancel = (hive: Hive, { token }: { token: string }, jobId: string) =>
  hive.call(contract.cancelJob, { token, params: { jobId } })
const retry = (hive: Hive, { token }: { token: string }, jobId: string) =>
  hive.call(contract.retryJob, { token, params: { jobId } })

async function setup(hive: Hive) {
  const ada: Person = await hive.person('ada')
  const projectId = await hive.project(ada)
  return { ada, projectId, worker: await hive.worker() }
}

describeHive('canceling jobs', (open) => {
  test('a waiting job is canceled at once and frees its place', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const jobs = await Promise.all(Array.from({ length: 10 }, () => submitted(hive, ada, projectId)))
    const jobId = jobs[3]?.id ?? ''
    const replies = await Promise.all(Array.from({ length: 5 }, () => cancel(hive, ada, jobId)))
    for (const { body } of replies) assert.equal(body.state, 'canceled')
    assert.equal((await submit(hive, ada, projectId)).status, 201)
    assert.equal((await worker.claim(9)).filter((claim) => claim.jobId === jobId).length, 0)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a claimed job that is not started yet is canceled when its worker lets go', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    await worker.claim()
    const reply = await cancel(hive, ada, job.id)
    assert.equal(reply.body.state, 'leased')
    assert.ok(reply.body.cancelRequestedAt)
    hive.clock.advance(policy.startWithinMs)
    await reapLeases(hive.ctx)
    assert.equal((await getJob(hive, ada, job.id)).state, 'canceled')
    assert.deepEqual(await findDrift(hive), [])
  })

  for (const outcome of ['canceled', 'failed', 'returned'] as const)
    test(`a running job is canceled when its worker, told by a beat, reports ${outcome}`, async () => {
      await using hive = await open()
      const { ada, projectId, worker } = await setup(hive)
      const job = await submitted(hive, ada, projectId, { maxAttempts: 5 })
      const claim = await take(worker)
      assert.deepEqual(await beat(worker, claim), ['ok'])
      assert.equal((await cancel(hive, ada, job.id)).body.state, 'running')
      assert.equal((await cancel(hive, ada, job.id)).status, 200)
      assert.deepEqual(await beat(worker, claim), ['cancel'])
      assert.equal((await complete(worker, claim, { outcome })).body.state, 'canceled')
      assert.equal((await getJob(hive, ada, job.id)).state, 'canceled')
      assert.deepEqual(await findDrift(hive), [])
    })

  test('a job that succeeded before it heard of the cancel has succeeded', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    const claim = await take(worker)
    await cancel(hive, ada, job.id)
    await complete(worker, claim)
    assert.equal((await getJob(hive, ada, job.id)).state, 'succeeded')
    const reply = await cancel(hive, ada, job.id)
    assert.equal(reply.status, 409)
    assert.equal(reply.problem.code, 'job_finished')
  })

  test('a cancel and a claim at the same moment: never both, and nothing drifts', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    for (let round = 0; round < 15; round++) {
      const job = await submitted(hive, ada, projectId)
      const [reply, claims] = await Promise.all([cancel(hive, ada, job.id), worker.claim()])
      assert.equal(reply.body.state, claims.length === 0 ? 'canceled' : 'leased')
      if (claims[0] !== undefined) await complete(worker, claims[0], { outcome: 'canceled' })
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a cancel while the job is given back: it is canceled, and not queued with a wish', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    for (let round = 0; round < 25; round++) {
      const job = await submitted(hive, ada, projectId)
      const claim = await take(worker)
      await Promise.all([complete(worker, claim, { outcome: 'returned' }), cancel(hive, ada, job.id)])
      assert.equal((await getJob(hive, ada, job.id)).state, 'canceled')
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a cancel and the end of its time at the same moment: one of both', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    for (let round = 0; round < 10; round++) {
      const job = await submitted(hive, ada, projectId, { ttlSeconds: 1 })
      hive.clock.advance(1000)
      const [reply] = await Promise.all([cancel(hive, ada, job.id), skipExpired(hive.ctx)])
      const { state } = await getJob(hive, ada, job.id)
      assert.equal(state, reply.status === 200 ? 'canceled' : 'skipped')
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test("another team's job does not exist, a viewer may look but not touch, an admin may", async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    const eve = await hive.person('eve')
    for (const verb of [cancel, retry]) {
      const reply = await verb(hive, eve, job.id)
      assert.equal(reply.problem.code, 'job_not_found')
    }
    const body = { username: 'eve', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    assert.equal((await getJob(hive, eve, job.id)).state, 'queued')
    for (const verb of [cancel, retry]) assert.equal((await verb(hive, eve, job.id)).problem.code, 'permission_denied')
    const admin = await hive.admin()
    assert.equal((await cancel(hive, admin, job.id)).body.state, 'canceled')
    assert.equal((await retry(hive, admin, job.id)).body.state, 'queued')
  })
})

describeHive('retrying jobs', (open) => {
  test('an ended job waits again as the same job, with fresh budgets and a fresh time to live; history goes on', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    await complete(worker, await take(worker), { outcome: 'failed', error: { code: 'exit', message: '1' } })
    hive.clock.advance(600_000)
    const { body } = await retry(hive, ada, job.id)
    assert.deepEqual(
      [body.state, body.error, body.finishedAt, body.startedAt, body.cancelRequestedAt],
      ['queued', null, null, null, null],
    )
    assert.equal(Date.parse(body.expiresAt) - Date.parse(job.expiresAt), 600_000)
    const claim = await take(worker)
    assert.equal(claim.attempt, 2)
    await complete(worker, claim, { outcome: 'failed' })
    assert.equal((await getJob(hive, ada, job.id)).state, 'failed', 'the budget was one attempt')
    const attempts = await hive.call(contract.listAttempts, { token: ada.token, params: { jobId: job.id } })
    assert.equal(attempts.body.items.length, 2)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('only ended jobs are retried, once, and only where there is a place', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    assert.equal((await retry(hive, ada, job.id)).problem.code, 'job_not_finished')
    await cancel(hive, ada, job.id)
    const replies = await Promise.all(Array.from({ length: 6 }, () => retry(hive, ada, job.id)))
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 409, 409, 409, 409, 409])
    await cancel(hive, ada, job.id)
    for (let i = 0; i < 10; i++) await submitted(hive, ada, projectId)
    const full = await retry(hive, ada, job.id)
    assert.equal(full.problem.code, 'queue_full')
    assert.equal((await getJob(hive, ada, job.id)).state, 'canceled')
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a completion from before the retry is stale', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    await setTier(hive, ada, 'pro')
    const job = await submitted(hive, ada, projectId)
    const claim = await take(worker)
    await complete(worker, claim)
    await retry(hive, ada, job.id)
    assert.equal((await complete(worker, claim)).status, 409)
    assert.equal((await getJob(hive, ada, job.id)).state, 'queued')
  })

  test('an archived project retries nothing', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    await cancel(hive, ada, job.id)
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body: { archived: true } })
    assert.equal((await retry(hive, ada, job.id)).problem.code, 'project_archived')
  })
})
