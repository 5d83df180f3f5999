import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import { listQueues } from '@hivesync/contracts/queues.ts'
import { drainWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, getJob, repository, setTier, submitted, take } from '../../test/harness/jobs.ts'
import { workerAwayMs } from './jobs.ts'

/** Every item of a list, page by page. */
async function allOf<T>(page: (cursor?: string) => Promise<{ items: T[]; nextCursor: string | null }>): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const reply = await page(cursor)
    items.push(...reply.items)
    cursor = reply.nextCursor ?? undefined
  } while (cursor !== undefined)
  return items
}

const why = async (hive: Hive, person: Person, jobId: string) => (await getJob(hive, person, jobId)).waitingFor?.reason

describeHive('reading jobs', (open) => {
  test('a list says what each job is about without reading its input, which may be 1 MiB long', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bodies: contract.NewJob[] = [
      { kind: 'ingest', input: { repository, ref: 'main' } },
      { kind: 'compute', input: { command: ['echo', '🐝'.repeat(200)] } },
    ]
    for (const body of bodies)
      assert.equal((await hive.call(contract.submitJob, { token: ada.token, params: { projectId }, body })).status, 201)
    await hive.ctx.db.kysely.updateTable('jobs').set({ input: 'no JSON' }).execute()
    const { body } = await hive.call(contract.listJobs, { token: ada.token, params: { projectId } })
    assert.deepEqual(
      body.items.map(({ subject }) => subject),
      [`echo ${'🐝'.repeat(114)}…`, `${repository} main`],
    )
  })

  test('a project lists its jobs newest first, each on exactly one page, by state and kind', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    const projectId = await hive.project(ada)
    const ids: string[] = []
    for (let i = 0; i < 7; i++) ids.unshift((await submitted(hive, ada, projectId)).id)
    const body = { kind: 'ingest' as const, input: { repository } }
    const ingest = await hive.call(contract.submitJob, { token: ada.token, params: { projectId }, body })
    const worker = await hive.worker({ kinds: ['compute'] })
    const claim = await take(worker)
    await complete(worker, claim)

    const list = (query: { state?: contract.JobState; kind?: 'ingest' | 'compute' }, limit: string) =>
      allOf(async (cursor) => {
        const page = { ...query, limit, ...(cursor === undefined ? {} : { cursor }) }
        return (await hive.call(contract.listJobs, { token: ada.token, params: { projectId }, query: page })).body
      })
    const idsOf = (jobs: contract.Job[]) => jobs.map(({ id }) => id)
    for (const limit of ['1', '3', '8', '200']) {
      assert.deepEqual(idsOf(await list({}, limit)), [ingest.body.id, ...ids])
      assert.deepEqual(idsOf(await list({ kind: 'compute' }, limit)), ids)
      assert.deepEqual(idsOf(await list({ state: 'succeeded' }, limit)), [claim.jobId])
    }
    const call = (query: Record<string, string>) =>
      hive.call(contract.listJobs, { token: ada.token, params: { projectId }, query })
    const odd: Record<string, string>[] = [{ limit: '0' }, { limit: '201' }, { cursor: "' or 1=1" }, { state: 'mine' }]
    for (const query of [...odd, { x: '1' }]) assert.equal((await call(query)).status, 400, JSON.stringify(query))
  })

  test('attempts come first to last, each on exactly one page', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada), { maxAttempts: 5 })
    const worker = await hive.worker()
    for (let i = 0; i < 5; i++) {
      await complete(worker, await take(worker), { outcome: 'failed' })
      hive.clock.advance(100_000)
    }
    const numbers = (limit: string) =>
      allOf(async (cursor) => {
        const query = { limit, ...(cursor === undefined ? {} : { cursor }) }
        return (await hive.call(contract.listAttempts, { token: ada.token, params: { jobId: job.id }, query })).body
      })
    for (const limit of ['1', '2', '5', '50'])
      assert.deepEqual(
        (await numbers(limit)).map(({ number }) => number),
        [1, 2, 3, 4, 5],
      )
    const query = { cursor: 'not-a-number' }
    const reply = await hive.call(contract.listAttempts, { token: ada.token, params: { jobId: job.id }, query })
    assert.equal(reply.status, 400)
  })

  test('queues count what waits and runs, of own projects only, each on exactly one page', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    for (const person of [ada, ada, bob]) {
      const projectId = await hive.project(person)
      await submitted(hive, person, projectId)
      const body = { kind: 'ingest' as const, input: { repository } }
      await hive.call(contract.submitJob, { token: person.token, params: { projectId }, body })
    }
    await take(await hive.worker({ kinds: ['compute'], teamId: ada.teamId }))
    for (const limit of ['1', '2', '3', '50']) {
      const queues = await allOf(async (cursor) => {
        const query = { limit, ...(cursor === undefined ? {} : { cursor }) }
        return (await hive.call(listQueues, { token: ada.token, query })).body
      })
      assert.equal(new Set(queues.map(({ projectId, kind }) => projectId + kind)).size, 4)
      assert.equal(queues.length, 4)
      assert.equal(queues.filter(({ running }) => running === 1).length, 1)
      assert.equal(queues.filter(({ waiting, maxWaiting }) => waiting === 1 && maxWaiting === 10).length, 3)
    }
  })

  test("another team's jobs do not exist on any endpoint", async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const projectId = await hive.project(ada)
    const { id: jobId } = await submitted(hive, ada, projectId)
    const own = [contract.getJob, contract.cancelJob, contract.retryJob, contract.listAttempts, contract.readLog]
    for (const endpoint of [...own, contract.watchJob]) {
      const reply = await hive.call(endpoint, { token: eve.token, params: { jobId } })
      assert.equal(reply.status, 404, endpoint.name)
      assert.equal(reply.problem.code, 'job_not_found', endpoint.name)
    }
    const list = await hive.call(contract.listJobs, { token: eve.token, params: { projectId } })
    assert.equal(list.problem.code, 'project_not_found')
    const bad = await hive.inject({ url: '/api/v1/jobs/../jobs', headers: { authorization: `Bearer ${eve.token}` } })
    assert.ok(bad.statusCode >= 400 && bad.statusCode < 500)
  })

  test('a waiting job says what it waits for, and that changes as obstacles go', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const job = await submitted(hive, ada, projectId, { labels: ['gpu'], maxAttempts: 2 })
    const reason = () => why(hive, ada, job.id)
    assert.equal(await reason(), 'no_worker')
    const bob = await hive.person('bob')
    await hive.worker({ teamId: bob.teamId })
    assert.equal(await reason(), 'no_worker', "another team's own worker is none")
    const unsafe = await hive.worker({ isolation: 'none', labels: ['gpu'] })
    assert.equal(await reason(), 'no_worker_online')
    await unsafe.claim()
    assert.equal(await reason(), 'isolation')
    await (await hive.worker()).claim()
    assert.equal(await reason(), 'labels')
    const able = await hive.worker({ labels: ['gpu'], slots: 1 })
    const first = await take(able)
    assert.equal((await getJob(hive, ada, job.id)).waitingFor, undefined)
    await complete(able, first, { outcome: 'failed' })
    assert.equal(await reason(), 'retry_delay')
    hive.clock.advance(10_000)
    assert.equal(await reason(), 'turn')

    await take(able)
    const second = await submitted(hive, ada, projectId, { labels: ['gpu'] })
    assert.equal(await why(hive, ada, second.id), 'workers_busy')
    await take(await hive.worker({ labels: ['gpu'] }))
    const third = await submitted(hive, ada, projectId)
    assert.equal(await why(hive, ada, third.id), 'team_limit')

    const { token } = await hive.admin()
    for (const { id } of await hive.ctx.db.kysely.selectFrom('workers').select('id').execute())
      await hive.call(drainWorker, { token, params: { workerId: id } })
    assert.equal(await why(hive, ada, third.id), 'no_worker_online')
  })

  test('a worker that has not been heard of for a minute is not there', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada))
    await (await hive.worker({ kinds: ['ingest'] })).claim()
    assert.equal(await why(hive, ada, job.id), 'labels')
    hive.clock.advance(workerAwayMs)
    assert.equal(await why(hive, ada, job.id), 'no_worker_online')
  })
})
