import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as projects from '@hivesync/contracts/projects.ts'
import * as contract from '@hivesync/contracts/queues.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, findDrift, getJob, setTier, submit, submitted, take } from '../../test/harness/jobs.ts'

type Change = { paused?: boolean; maxRunning?: number | null }
const update = (hive: Hive, { token }: Person, projectId: string, body: Change) =>
  hive.call(contract.updateQueue, { token, params: { projectId, kind: 'compute' }, body })
const whyOf = async (hive: Hive, person: Person, { id }: { id: string }) => (await getJob(hive, person, id)).waitingFor

async function setup(hive: Hive) {
  const ada = await hive.person('ada')
  await setTier(hive, ada, 'pro')
  return { ada, projectId: await hive.project(ada), worker: await hive.worker() }
}

describeHive('queues', (open) => {
  test('an owner pauses a queue: submissions wait and say why, what runs goes on, resumed they run', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    await submitted(hive, ada, projectId)
    const claim = await take(worker)
    const paused = (await update(hive, ada, projectId, { paused: true })).body
    assert.deepEqual([paused.paused?.by, paused.running], ['project', 1])
    const since = paused.paused?.since
    hive.clock.advance(1000)
    assert.equal((await update(hive, ada, projectId, { paused: true })).body.paused?.since, since, 'keeps its time')
    const job = await submitted(hive, ada, projectId)
    assert.deepEqual(await worker.claim(), [])
    const why = await whyOf(hive, ada, job)
    assert.equal(why?.reason, 'queue_paused')
    assert.match(why?.fix ?? '', /queue resume compute$/)
    assert.equal((await complete(worker, claim)).status, 200)
    await update(hive, ada, projectId, { paused: false })
    assert.equal((await worker.claim()).length, 1)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('an admin pauses a kind everywhere, with a reason that those who wait read; no project resumes it', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const job = await submitted(hive, ada, projectId)
    const { token } = await hive.admin()
    const pause = { token, params: { name: 'compute' as const }, body: { reason: 'New disks' } }
    const { body } = await hive.call(contract.pauseQueues, pause)
    assert.deepEqual([body.paused?.by, body.paused?.reason], ['admin', 'New disks'])
    await hive.call(contract.pauseQueues, { ...pause, body: { reason: 'again' } })
    assert.match((await whyOf(hive, ada, job))?.message ?? '', /administrator paused all compute jobs.*: New disks/)
    assert.equal((await update(hive, ada, projectId, { paused: false })).body.paused?.by, 'admin')
    assert.deepEqual(await worker.claim(), [])
    const [queue] = (await hive.call(contract.listQueues, { token: ada.token })).body.items
    assert.equal(queue?.paused?.reason, 'New disks')
    for (let i = 0; i < 2; i++) await hive.call(contract.resumeQueues, { token, params: pause.params })
    assert.equal((await worker.claim()).length, 1)
    const audited = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('action')
      .where('action', 'like', 'queue.%')
      .execute()
    const actions = audited.map(({ action }) => action)
    assert.deepEqual(actions.filter((action) => action !== 'queue.updated').sort(), ['queue.paused', 'queue.resumed'])
  })

  test('a queue runs at most as many jobs as its project allows, however many workers ask at once', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const [other] = [await hive.worker()]
    assert.equal((await update(hive, ada, projectId, { maxRunning: 2 })).body.maxRunning, 2)
    const all = []
    for (let i = 0; i < 4; i++) all.push(await submitted(hive, ada, projectId))
    const claims = (await Promise.all([worker.claim(3), other.claim(3)])).flat()
    assert.equal(claims.length, 2)
    const waiting = all.find(({ id }) => !claims.some(({ jobId }) => jobId === id))
    assert.ok(waiting)
    assert.equal((await whyOf(hive, ada, waiting))?.reason, 'project_limit')
    await update(hive, ada, projectId, { maxRunning: null })
    assert.equal((await worker.claim(3)).length, 2)
  })

  test('viewers and editors pause nothing, strangers find nothing', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const eve = await hive.person('eve')
    assert.equal((await update(hive, eve, projectId, { paused: true })).problem.code, 'project_not_found')
    const body = { username: 'eve', role: 'editor' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    assert.equal((await update(hive, eve, projectId, { paused: true })).problem.code, 'permission_denied')
    const pause = { token: ada.token, params: { name: 'compute' as const }, body: {} }
    assert.equal((await hive.call(contract.pauseQueues, pause)).problem.code, 'permission_denied')
  })
})

describeHive('why a job waits', (open) => {
  test('a pool without workers, labels that none carries, a worker that refuses, and the place in the turn', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    await worker.claim()
    const send = (more: object) =>
      hive.inject({
        method: 'POST',
        url: `/api/v1/projects/${projectId}/jobs`,
        headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json' },
        payload: JSON.stringify({ kind: 'compute', input: { command: ['true'] }, ...more }),
      })
    const pooled = (await send({ pool: 'gpu-farm' })).json()
    const why = await whyOf(hive, ada, pooled)
    assert.equal(why?.reason, 'pool')
    assert.match(why?.message ?? '', /gpu-farm/)
    const labeled = (await send({ labels: ['arm'] })).json()
    assert.equal((await whyOf(hive, ada, labeled))?.reason, 'labels')
    const jobs = [(await submit(hive, ada, projectId)).body, (await submit(hive, ada, projectId)).body]
    assert.deepEqual(
      [await whyOf(hive, ada, jobs[0] ?? pooled), await whyOf(hive, ada, jobs[1] ?? pooled)].map((each) => [
        each?.reason,
        each?.message.slice(0, 24),
      ]),
      [
        ['turn', 'About 1 job goes before i'.slice(0, 24)],
        ['turn', 'About 2 jobs go before it'.slice(0, 24)],
      ],
    )
    await hive.ctx.db.kysely.updateTable('workers').set({ refusing: 'the disk is full' }).execute()
    const refused = await whyOf(hive, ada, jobs[0] ?? pooled)
    assert.equal(refused?.reason, 'worker_refusing')
    assert.match(refused?.message ?? '', /the disk is full/)
  })
})
