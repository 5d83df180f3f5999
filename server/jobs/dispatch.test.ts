import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drainWorker, revokeWorker } from '@hivesync/contracts/workers.ts'
import { describeHive } from '../../test/harness/hive.ts'
import { complete, findDrift, setTier, start, submitted } from '../../test/harness/jobs.ts'
import { createDispatcher, type Poll } from './dispatch.ts'

const pollOf = (workerId: string, freeSlots = 1): Poll => ({
  workerId,
  teamId: null,
  kinds: ['compute'],
  labels: [],
  pool: 'default',
  freeSlots,
})
const never = new AbortController().signal
const patienceMs = 60_000

describeHive('the dispatcher', (open) => {
  test('a poll without patience looks once and answers', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    assert.deepEqual(await worker.claim(1, 0), [])
    const job = await submitted(hive, ada, projectId)
    assert.deepEqual(
      (await worker.claim(1, 0)).map(({ jobId }) => jobId),
      [job.id],
    )
  })

  test('a waiting poll is woken by a submission', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const poll = worker.claim(1, 30)
    const job = await submitted(hive, ada, projectId)
    assert.deepEqual(
      (await poll).map(({ jobId }) => jobId),
      [job.id],
    )
  })

  test("a worker's newer poll ends its older one, and the job goes to the newer", async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    const older = dispatcher.wait(pollOf(worker.id), patienceMs, never)
    const newer = dispatcher.wait(pollOf(worker.id), patienceMs, never)
    assert.deepEqual(await older, [])
    const job = await submitted(hive, ada, projectId)
    assert.deepEqual(
      (await newer).map(({ jobId }) => jobId),
      [job.id],
    )
    dispatcher.close()
  })

  test('what was claimed for a poll that hung up, or was replaced, meanwhile goes back at once and costs nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    for (const how of ['hung up', 'replaced']) {
      const job = await submitted(hive, ada, projectId)
      const hangUp = new AbortController()
      // Hangs up inside the claim: its first statement is the moment at which the claim is under way.
      const claiming = hive.ctx.db.transaction
      let replacement: Promise<unknown> | undefined
      Object.assign(hive.ctx.db, {
        transaction: (body: Parameters<typeof claiming>[0]) => {
          Object.assign(hive.ctx.db, { transaction: claiming })
          if (how === 'hung up') hangUp.abort()
          else replacement = dispatcher.wait(pollOf(worker.id), patienceMs, never)
          return claiming(body)
        },
      })
      assert.deepEqual(await dispatcher.wait(pollOf(worker.id), patienceMs, hangUp.signal), [], how)
      if (how === 'hung up') {
        const [again] = await dispatcher.wait(pollOf(worker.id), patienceMs, never)
        assert.equal(again?.jobId, job.id)
        assert.equal(again?.attempt, 1)
      } else {
        const [again] = (await replacement) as { jobId: string }[]
        assert.equal(again?.jobId, job.id)
      }
      assert.deepEqual(await findDrift(hive), [])
    }
    dispatcher.close()
  })

  test('a poll whose time runs out while its claim is under way still gets its job', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    const poll = dispatcher.wait(pollOf(worker.id), 0, never)
    const job = await submitted(hive, ada, projectId)
    const claims = [...(await poll), ...(await dispatcher.wait(pollOf(worker.id), 0, never))]
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [job.id],
    )
    dispatcher.close()
  })

  test('a failing claim is told to its polls, and the next one works', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    const job = await submitted(hive, ada, projectId)
    await assert.rejects(dispatcher.wait({ ...pollOf(worker.id), kinds: ['\0'] }, patienceMs, never))
    const [claim] = await dispatcher.wait(pollOf(worker.id), patienceMs, never)
    assert.equal(claim?.jobId, job.id)
    dispatcher.close()
  })

  test('a group that fails leaves the others alone', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const [broken, sound] = [await hive.worker(), await hive.worker()]
    const dispatcher = createDispatcher(hive.ctx)
    await submitted(hive, ada, projectId, { labels: ['gpu'] })
    const refused = assert.rejects(dispatcher.wait({ ...pollOf(broken.id), kinds: ['\0'] }, patienceMs, never))
    const poll = dispatcher.wait(pollOf(sound.id), patienceMs, never)
    const job = await submitted(hive, ada, projectId)
    await refused
    assert.equal((await poll)[0]?.jobId, job.id)
    dispatcher.close()
  })

  test('closing answers every wait, and later ones at once', async () => {
    await using hive = await open()
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    const waits = [dispatcher.wait(pollOf(worker.id), patienceMs, never), dispatcher.idle(patienceMs, never)]
    dispatcher.close()
    await Promise.all(waits)
    assert.deepEqual(await dispatcher.wait(pollOf(worker.id), patienceMs, never), [])
    await dispatcher.idle(patienceMs, never)
  })

  test('a signal that aborted before the wait began ends it', async () => {
    await using hive = await open()
    const worker = await hive.worker()
    const dispatcher = createDispatcher(hive.ctx)
    assert.deepEqual(await dispatcher.wait(pollOf(worker.id), patienceMs, AbortSignal.abort()), [])
    await dispatcher.idle(patienceMs, AbortSignal.abort())
    dispatcher.close()
  })

  test('more slots than one claim serves are served by several', async () => {
    await using hive = await open()
    const [ada, bob, cyd] = [await hive.person('ada'), await hive.person('bob'), await hive.person('cyd')]
    const people = [ada, bob, cyd]
    for (const person of people) {
      await setTier(hive, person, 'enterprise')
      const projectId = await hive.project(person)
      await Promise.all(Array.from({ length: 50 }, () => submitted(hive, person, projectId)))
    }
    const dispatcher = createDispatcher(hive.ctx)
    const [a, b] = [await hive.worker(), await hive.worker()]
    const claims = await Promise.all([a, b].map(({ id }) => dispatcher.wait(pollOf(id, 100), patienceMs, never)))
    const rest = await dispatcher.wait(pollOf(a.id, 100), patienceMs, never)
    assert.equal(new Set([...claims.flat(), ...rest].map(({ jobId }) => jobId)).size, 150)
    assert.deepEqual(await findDrift(hive), [])
    dispatcher.close()
  })

  test('workers that must not take work, however many, keep it from the others for no longer than a look', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const dispatcher = createDispatcher(hive.ctx)
    const gone = Array.from({ length: 120 }, (_, number) =>
      dispatcher.wait(pollOf(`gone-${number}`), patienceMs, never),
    )
    const there = await hive.worker()
    const poll = dispatcher.wait(pollOf(there.id), patienceMs, never)
    const job = await submitted(hive, ada, projectId)
    assert.equal((await poll)[0]?.jobId, job.id)
    dispatcher.close()
    assert.deepEqual((await Promise.all(gone)).flat(), [])
  })

  test('several replicas at once lease each job once, and a team never runs more than it may', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    const projectId = await hive.project(ada)
    await Promise.all(Array.from({ length: 40 }, () => submitted(hive, ada, projectId)))
    const crew = await Promise.all(Array.from({ length: 4 }, () => hive.worker()))
    const replicas = crew.map(() => createDispatcher(hive.ctx))
    const leased: string[] = []
    while (leased.length < 40) {
      const polls = crew.map(({ id }, i) => replicas[i]?.wait(pollOf(id, 6), 0, never) ?? [])
      const claims = await Promise.all(polls)
      // findDrift tells of a team above its limit, too.
      assert.deepEqual(await findDrift(hive), [])
      for (const [i, worker] of crew.entries())
        for (const claim of claims[i] ?? []) {
          leased.push(claim.jobId)
          assert.equal((await complete(worker, claim)).status, 200)
        }
    }
    assert.equal(new Set(leased).size, 40)
    for (const replica of replicas) replica.close()
  })

  for (const [fate, endpoint] of [
    ['drained', drainWorker],
    ['revoked', revokeWorker],
  ] as const)
    test(`a poll that waited when its worker was ${fate} gets nothing`, async () => {
      await using hive = await open()
      const { token } = await hive.admin()
      const ada = await hive.person('ada')
      const projectId = await hive.project(ada)
      const [gone, there] = [await hive.worker(), await hive.worker()]
      const dispatcher = createDispatcher(hive.ctx)
      const poll = dispatcher.wait(pollOf(gone.id), patienceMs, never)
      await hive.call(endpoint, { token, params: { workerId: gone.id } })
      const job = await submitted(hive, ada, projectId)
      const [claim] = await dispatcher.wait(pollOf(there.id), patienceMs, never)
      assert.equal(claim?.jobId, job.id)
      assert.equal((await start(there, { token: claim?.token ?? 0 })).status, 204)
      dispatcher.close()
      assert.deepEqual(await poll, [])
    })
})
