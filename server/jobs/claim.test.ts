import assert from 'node:assert/strict'
import { test } from 'node:test'
import type * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { complete, findDrift, getJob, setTier, start, submitted, take } from '../../test/harness/jobs.ts'

const jobIds = (claims: readonly protocol.Claim[]) => claims.map(({ jobId }) => jobId)

async function queue(hive: Hive, person: Person, count: number): Promise<string> {
  const projectId = await hive.project(person)
  for (let i = 0; i < count; i++) await submitted(hive, person, projectId)
  return projectId
}

/** Runs jobs one by one on one slot and tells whose they were, in turn. */
async function order(hive: Hive, worker: TestWorker, count: number): Promise<string> {
  const owners = new Map<string, string>()
  for (const row of await hive.ctx.db.kysely
    .selectFrom('users')
    .innerJoin('teams', 'teams.personalUserId', 'users.id')
    .innerJoin('projects', 'projects.teamId', 'teams.id')
    .select(['projects.id', 'users.username'])
    .execute())
    owners.set(row.id, row.username.slice(0, 1))
  let result = ''
  for (let i = 0; i < count; i++) {
    const claim = await take(worker)
    result += owners.get(claim.projectId)
    await complete(worker, claim)
  }
  return result
}

describeHive('claiming among many labels', (open) => {
  test('one team that waits with tens of thousands of label sets stops nobody’s work', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [model, other] = [await hive.project(ada), await hive.project(await hive.person('bob'))]
    const { id } = await submitted(hive, ada, model, { labels: ['l0'] })
    const db = hive.ctx.db.kysely
    const job = await db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    const queued = await db.selectFrom('jobQueue').selectAll().where('jobId', '=', id).executeTakeFirstOrThrow()
    const labels = Array.from({ length: 16 }, (_, i) => `l${i}`)
    const sets = Array.from({ length: 33_000 }, (_, i) =>
      JSON.stringify(labels.filter((_, bit) => ((i + 1) >> bit) & 1)),
    )
    for (let start = 0; start < sets.length; start += 500) {
      const ids = sets.slice(start, start + 500).map(() => hive.ctx.random.id())
      await db
        .insertInto('jobs')
        .values(ids.map((id) => ({ ...job, id })))
        .execute()
      const rows = ids.map((jobId, i) => ({ ...queued, jobId, labels: sets[start + i] ?? '' }))
      await db.insertInto('jobQueue').values(rows).execute()
    }
    const bobs = await submitted(hive, await hive.person('bob'), other, { labels: ['l3'] })
    const worker = await hive.worker({ labels, slots: 2 })
    const claims = await worker.claim(2)
    assert.ok(claims.some(({ jobId }) => jobId === bobs.id))
  })
})

describeHive('claiming jobs', (open) => {
  test('of two workers that race for one job exactly one gets it, twenty times', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const [a, b] = [await hive.worker(), await hive.worker()]
    for (let round = 0; round < 20; round++) {
      const job = await submitted(hive, ada, projectId)
      const got = await Promise.all([a.claim(), b.claim()])
      // A claim passes over a team whose row another one holds; then the job is still there.
      const claims = [...got.flat(), ...(got.flat().length === 0 ? await a.claim() : [])]
      assert.deepEqual(jobIds(claims), [job.id])
      const winner = (got[1] ?? []).length > 0 ? b : a
      assert.equal((await complete(winner, claims[0] ?? { token: 0 })).status, 200)
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('eight workers take fifty jobs, each job once, and never more than the team may run', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    await queue(hive, ada, 50)
    const crew = await Promise.all(Array.from({ length: 8 }, () => hive.worker()))
    const done: string[] = []
    let most = 0
    const work = async (worker: TestWorker): Promise<void> => {
      while (done.length < 50) {
        for (const claim of await worker.claim(3)) {
          const leases = await hive.ctx.db.kysely.selectFrom('jobLeases').select('token').execute()
          most = Math.max(most, leases.length)
          assert.equal((await start(worker, claim)).status, 204)
          assert.equal((await complete(worker, claim)).status, 200)
          done.push(claim.jobId)
        }
      }
    }
    await Promise.all(crew.map(work))
    assert.equal(new Set(done).size, 50)
    assert.equal(done.length, 50)
    assert.ok(most <= 10, `${most} at once`)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('the fencing token only grows', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await queue(hive, ada, 6)
    const worker = await hive.worker()
    const tokens: number[] = []
    for (let i = 0; i < 6; i++) {
      const claim = await take(worker)
      tokens.push(claim.token)
      await complete(worker, claim, { outcome: i % 2 ? 'succeeded' : 'returned' })
    }
    assert.deepEqual(
      tokens,
      [...tokens].sort((a, b) => a - b),
    )
    assert.equal(new Set(tokens).size, 6)
  })

  test('a claim is exactly what was submitted, with its lease', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const job = await submitted(hive, ada, projectId)
    const [claim] = await (await hive.worker()).claim()
    const { token, ...rest } = claim ?? { token: 0 }
    assert.ok(token > 0)
    assert.deepEqual(rest, {
      ...{ jobId: job.id, projectId, kind: 'compute', input: { command: ['true'] }, attempt: 1 },
      ...{ leaseTtlSeconds: 30, startWithinSeconds: 30, requestId: job.requestId },
    })
    assert.equal((await getJob(hive, ada, job.id)).state, 'leased')
  })

  test('higher priority first, then first come', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const ids = []
    for (const priority of [5, 0, 9, 5]) ids.push((await submitted(hive, ada, projectId, { priority })).id)
    const got = []
    for (let i = 0; i < 4; i++) {
      const claim = await take(worker)
      got.push(claim.jobId)
      await complete(worker, claim)
    }
    assert.deepEqual(got, [ids[2], ids[0], ids[3], ids[1]])
  })

  test('a team that comes late with 5 jobs is served in turn with one that queued 40 before', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    for (const person of [ada, bob]) await setTier(hive, person, 'pro')
    await queue(hive, ada, 40)
    const worker = await hive.worker()
    await order(hive, worker, 10)
    await queue(hive, bob, 5)
    const turns = await order(hive, worker, 11)
    assert.equal(turns.replaceAll('a', '').length, 5, turns)
  })

  test('a team of plan pro gets four turns for each that a free one gets', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    await setTier(hive, bob, 'pro')
    await queue(hive, ada, 10)
    await queue(hive, bob, 30)
    const turns = await order(hive, await hive.worker(), 20)
    assert.equal(turns.replaceAll('a', '').length, 16, turns)
  })

  test('turns that a team did not ask for are not saved up, whether it was idle or ran a long job', async () => {
    await using hive = await open()
    const [ada, bob, cyd] = [await hive.person('ada'), await hive.person('bob'), await hive.person('cyd')]
    for (const person of [ada, bob, cyd]) await setTier(hive, person, 'pro')
    const worker = await hive.worker()
    await queue(hive, bob, 1)
    const long = await take(worker)
    await queue(hive, ada, 30)
    await order(hive, worker, 30)
    // Nobody waits now: whoever comes first must not be far behind those who were served.
    const projectOfBob = await queue(hive, bob, 9)
    await queue(hive, cyd, 9)
    await queue(hive, ada, 9)
    const turns = await order(hive, worker, 9)
    for (const name of 'abc') assert.equal(turns.split(name).length - 1, 3, turns)
    assert.equal((await complete(worker, long)).status, 200)
    assert.ok(projectOfBob)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a worker gets only jobs whose labels it carries, of kinds that it takes', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const gpu = await submitted(hive, ada, projectId, { labels: ['gpu', 'region:eu'], priority: 9 })
    const plain = await submitted(hive, ada, projectId)
    assert.deepEqual(await (await hive.worker({ kinds: ['ingest'] })).claim(9), [])
    assert.deepEqual(jobIds(await (await hive.worker({ labels: ['gpu'] })).claim(9)), [plain.id])
    assert.deepEqual(jobIds(await (await hive.worker({ labels: ['region:eu', 'ssd', 'gpu'] })).claim(9)), [gpu.id])
  })

  test("jobs that nobody here can take do not hide another team's", async () => {
    await using hive = await open()
    for (let i = 0; i < 12; i++) {
      const person = await hive.person(`person${i}`)
      await submitted(hive, person, await hive.project(person), { labels: ['gpu'] })
    }
    const zoe = await hive.person('zoe')
    await queue(hive, zoe, 1)
    assert.equal((await (await hive.worker()).claim()).length, 1)
  })

  test("a team's own worker serves that team alone, a shared one serves all", async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const projectId = await hive.project(bob)
    const own = await hive.worker({ teamId: ada.teamId })
    const job = await submitted(hive, bob, projectId)
    assert.deepEqual(await own.claim(9), [])
    assert.deepEqual(jobIds(await (await hive.worker()).claim(9)), [job.id])
    assert.equal((await submitted(hive, ada, await hive.project(ada))).id, (await own.claim(9))[0]?.jobId)
  })

  test('a worker without a proven sandbox, a draining one or one with no kinds gets nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await queue(hive, ada, 1)
    assert.deepEqual(await (await hive.worker({ isolation: 'none' })).claim(4), [])
    assert.deepEqual(await (await hive.worker({ kinds: [] })).claim(4), [])
    const { token } = await hive.admin()
    const draining = await hive.worker()
    await hive.call(workers.drainWorker, { token, params: { workerId: draining.id } })
    assert.deepEqual(await draining.claim(4), [])
    assert.equal((await (await hive.worker({ isolation: 'reduced' })).claim(4)).length, 1)
  })

  test('a team runs no more than its plan allows, and one that is at its limit delays nobody', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    await queue(hive, ada, 10)
    const worker = await hive.worker({ slots: 20 })
    const held = await worker.claim(20)
    assert.equal(held.length, 2)
    assert.deepEqual(await worker.claim(20), [])
    await queue(hive, bob, 1)
    assert.equal((await worker.claim(20)).length, 1)
    await complete(worker, held[0] ?? { token: 0 })
    assert.equal((await worker.claim(20)).length, 1)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a retry is not claimed before its time', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada), { maxAttempts: 2 })
    const worker = await hive.worker()
    await complete(worker, await take(worker), { outcome: 'failed' })
    const { runAt } = await hive.ctx.db.kysely.selectFrom('jobQueue').select('runAt').executeTakeFirstOrThrow()
    const delayMs = runAt - hive.clock.now()
    assert.ok(delayMs >= 2500 && delayMs <= 5000, String(delayMs))
    hive.clock.advance(delayMs - 1)
    assert.deepEqual(await worker.claim(), [])
    hive.clock.advance(1)
    assert.deepEqual(jobIds(await worker.claim()), [job.id])
  })
})
