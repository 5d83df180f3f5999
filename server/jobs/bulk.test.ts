import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/bulk.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, findDrift, getJob, setTier, start, submitted } from '../../test/harness/jobs.ts'

const retry = (hive: Hive, { token }: Person, projectId: string, filter: contract.RetryFilter = {}, limit?: number) =>
  hive.call(contract.retryJobs, { token, params: { projectId }, body: { filter, limit } })
const cancel = (hive: Hive, { token }: Person, projectId: string, filter: contract.CancelFilter = {}, limit?: number) =>
  hive.call(contract.cancelJobs, { token, params: { projectId }, body: { filter, limit } })

async function setup(hive: Hive) {
  const ada = await hive.person('ada')
  await setTier(hive, ada, 'pro')
  return { ada, projectId: await hive.project(ada), worker: await hive.worker({ slots: 10 }) }
}

describeHive('many jobs at once', (open) => {
  test('dead jobs are replayed by state, error and time, oldest first; the rest stays', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const jobs = []
    for (let i = 0; i < 4; i++) jobs.push(await submitted(hive, ada, projectId))
    const codes = ['disk_full', 'exit', 'exit', 'e_it']
    for (const claim of await worker.claim(4)) {
      const code = codes[jobs.findIndex(({ id }) => id === claim.jobId)] ?? ''
      // The worker chooses the order of its members, and the words of the message.
      const error = { message: 'said "code":"exit"', code }
      await complete(worker, claim, { outcome: 'failed', error })
      hive.clock.advance(1000)
    }
    const one = (await retry(hive, ada, projectId, { errorCode: 'exit' }, 1)).body
    assert.deepEqual(one, { retried: 1, refused: [], remaining: 1 })
    assert.equal((await getJob(hive, ada, jobs[1]?.id ?? '')).state, 'queued')
    assert.equal((await retry(hive, ada, projectId, { state: 'skipped' })).body.retried, 0)
    const { finishedAt } = await getJob(hive, ada, jobs[2]?.id ?? '')
    const rest = (await retry(hive, ada, projectId, { finishedAfter: finishedAt ?? '' })).body
    assert.deepEqual([rest.retried, rest.remaining], [1, 0])
    assert.equal((await retry(hive, ada, projectId)).body.retried, 2)
    assert.equal((await retry(hive, ada, projectId)).body.retried, 0, 'sent again it does nothing')
    const audited = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('targetId')
      .where('action', '=', 'job.retried')
      .execute()
    assert.deepEqual(audited.map(({ targetId }) => targetId).sort(), jobs.map(({ id }) => id).sort())
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a replay fills the queue to its cap and says so', async () => {
    await using hive = await open()
    const { ada, worker } = await setup(hive)
    await setTier(hive, ada, 'free')
    const projectId = await hive.project(ada)
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 2; i++) await submitted(hive, ada, projectId)
      for (const claim of await worker.claim(2)) {
        await start(worker, claim)
        await complete(worker, claim, { outcome: 'failed' })
      }
    }
    const replies = await Promise.all([retry(hive, ada, projectId), retry(hive, ada, projectId)])
    assert.equal(
      replies.reduce((sum, { body }) => sum + body.retried, 0),
      10,
    )
    assert.ok(replies.some(({ body }) => body.refused.some(({ code }) => code === 'queue_full')))
    assert.equal((await retry(hive, ada, projectId)).body.remaining, 2)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a cancel of many meets claims at the same moment: each job is canceled or asked, none is lost', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    for (let i = 0; i < 20; i++) await submitted(hive, ada, projectId)
    const all = () => cancel(hive, ada, projectId)
    const [, claims] = await Promise.all([all(), worker.claim(8), all()])
    await cancel(hive, ada, projectId)
    const rows = await hive.ctx.db.kysely.selectFrom('jobs').select(['state', 'cancelRequestedAt']).execute()
    const canceled = rows.filter(({ state }) => state === 'canceled').length
    const asked = rows.filter(({ state, cancelRequestedAt }) => state === 'leased' && cancelRequestedAt !== null).length
    assert.deepEqual([canceled + asked, asked], [20, claims.length])
    assert.deepEqual((await cancel(hive, ada, projectId)).body, { canceled: 0, asked: 0, refused: [], remaining: 0 })
    assert.deepEqual(await findDrift(hive), [])
  })

  test('only what the filter says: labels are whole words, and a claimed job is not a queued one', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    await submitted(hive, ada, projectId)
    await worker.claim(1)
    for (const labels of [['a_b'], ['axb'], ['a_b', 'c'], []]) await submitted(hive, ada, projectId, { labels })
    assert.equal((await cancel(hive, ada, projectId, { labels: ['a_b', 'c'] })).body.canceled, 1)
    assert.equal((await cancel(hive, ada, projectId, { labels: ['a_b'] })).body.canceled, 1)
    assert.deepEqual((await cancel(hive, ada, projectId, { state: 'queued' }, 1)).body, {
      ...{ canceled: 1, asked: 0, refused: [], remaining: 1 },
    })
    assert.equal((await cancel(hive, ada, projectId, { submittedBefore: '2020-01-01T00:00:00.000Z' })).body.canceled, 0)
    assert.deepEqual((await cancel(hive, ada, projectId)).body, { canceled: 1, asked: 1, refused: [], remaining: 0 })
  })

  test('viewers act on nothing, strangers find nothing, an archived project replays nothing', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const eve = await hive.person('eve')
    for (const act of [retry, cancel]) assert.equal((await act(hive, eve, projectId)).problem.code, 'project_not_found')
    const body = { username: 'eve', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    for (const act of [retry, cancel]) assert.equal((await act(hive, eve, projectId)).problem.code, 'permission_denied')
    const admin = await hive.admin()
    assert.equal((await cancel(hive, admin, projectId)).status, 200, 'an admin may with every job')
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body: { archived: true } })
    assert.equal((await retry(hive, ada, projectId)).problem.code, 'project_archived')
    assert.equal((await cancel(hive, ada, projectId)).status, 200)
  })
})
