import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tier } from '@hivesync/contracts/tiers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, findDrift, getJob, setTier, submitted, take } from '../../test/harness/jobs.ts'
import { counterDrift, reconcileCounters } from './jobs.ts'

async function limit(hive: Hive, projectId: string, change: { pausedAt?: number | null; maxRunning?: number | null }) {
  await hive.ctx.db.kysely.updateTable('queueCounters').set(change).where('projectId', '=', projectId).execute()
}

async function queued(hive: Hive, person: Person, projectId: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await submitted(hive, person, projectId)
}

async function onPlan(hive: Hive, tier: Tier): Promise<Person> {
  const ada = await hive.person('ada')
  await setTier(hive, ada, tier)
  return ada
}

describeHive('queues that are held back', (open) => {
  test('a paused queue gives nothing, and hides no other job of its team', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    const [paused, free] = [await hive.project(ada, 'one'), await hive.project(ada, 'two')]
    await queued(hive, ada, paused, 40)
    await limit(hive, paused, { pausedAt: 1 })
    const job = await submitted(hive, ada, free)
    const worker = await hive.worker()
    const claims = await worker.claim(4)
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [job.id],
    )
    await limit(hive, paused, { pausedAt: null })
    assert.equal((await worker.claim(3)).length, 3)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a kind that is paused everywhere gives nothing to anybody', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    await queued(hive, ada, await hive.project(ada), 2)
    const pause = { kind: 'compute', pausedAt: 1, pausedBy: null, reason: null }
    await hive.ctx.db.kysely.insertInto('queuePauses').values(pause).execute()
    const worker = await hive.worker()
    assert.deepEqual(await worker.claim(2), [])
    await hive.ctx.db.kysely.deleteFrom('queuePauses').execute()
    assert.equal((await worker.claim(2)).length, 2)
  })

  test('a project never runs more than it allows itself, however many claim at once', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    const projectId = await hive.project(ada)
    await queued(hive, ada, projectId, 20)
    await limit(hive, projectId, { maxRunning: 3 })
    const workers = await Promise.all(Array.from({ length: 4 }, () => hive.worker()))
    for (let round = 0; round < 3; round++) {
      const claims = (
        await Promise.all(workers.map(async (worker) => [worker, await worker.claim(4)] as const))
      ).flatMap(([worker, got]) => got.map((claim) => ({ worker, claim })))
      assert.equal(claims.length, 3)
      await Promise.all(claims.map(({ worker, claim }) => complete(worker, claim)))
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a job that cannot be read ends with an alarm and keeps nobody from theirs', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    const projectId = await hive.project(ada)
    const broken = await submitted(hive, ada, projectId)
    const good = await submitted(hive, ada, projectId)
    await hive.ctx.db.kysely.updateTable('jobs').set({ input: '{' }).where('id', '=', broken.id).execute()
    const worker = await hive.worker()
    const claims = [...(await worker.claim(2)), ...(await worker.claim(2))]
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [good.id],
    )
    const row = await hive.ctx.db.kysely
      .selectFrom('jobs')
      .selectAll()
      .where('id', '=', broken.id)
      .executeTakeFirstOrThrow()
    assert.deepEqual([row.state, JSON.parse(row.error ?? '{}').code], ['failed', 'internal'])
    assert.ok(hive.logged.some((line) => line.includes('job_unreadable') && line.includes(broken.id)))
    assert.deepEqual(await findDrift(hive), [])
  })
})

describeHive('counters that are looked after', (open) => {
  test('a counter that drifted is repaired, with an alarm, an audit row and a count', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    const projectId = await hive.project(ada)
    await queued(hive, ada, projectId, 3)
    await take(await hive.worker())
    assert.equal(await reconcileCounters(hive.ctx), 0)
    assert.equal(counterDrift(hive.ctx), 0)
    await hive.ctx.db.kysely.updateTable('queueCounters').set({ waiting: 7 }).execute()
    await hive.ctx.db.kysely.updateTable('teamShares').set({ running: 9 }).where('teamId', '=', ada.teamId).execute()
    assert.equal(await reconcileCounters(hive.ctx), 1)
    assert.equal(counterDrift(hive.ctx), 2)
    assert.deepEqual(await findDrift(hive), [])
    assert.equal(hive.logged.filter((line) => line.includes('counter_drift')).length, 2)
    const audits = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('actorKind')
      .where('action', '=', 'counters.repaired')
      .execute()
    assert.deepEqual(audits, [{ actorKind: 'system' }])
  })

  test('a team that changes its plan gets the limits of the new one', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'free')
    await queued(hive, ada, await hive.project(ada), 1)
    await setTier(hive, ada, 'pro')
    await reconcileCounters(hive.ctx)
    const share = await hive.ctx.db.kysely.selectFrom('teamShares').selectAll().executeTakeFirstOrThrow()
    const queue = await hive.ctx.db.kysely.selectFrom('queueCounters').selectAll().executeTakeFirstOrThrow()
    assert.deepEqual([share.maxRunning, share.weight, queue.maxWaiting], [10, 4, 100])
    assert.equal(counterDrift(hive.ctx), 0, 'no drift: nothing was lost')
  })

  test('while jobs move it finds no drift and makes none', async () => {
    await using hive = await open()
    const ada = await onPlan(hive, 'pro')
    const projectId = await hive.project(ada)
    const worker = await hive.worker({ slots: 10 })
    for (let round = 0; round < 5; round++) {
      const [claims] = await Promise.all([
        worker.claim(5),
        reconcileCounters(hive.ctx),
        ...Array.from({ length: 6 }, () => submitted(hive, ada, projectId)),
        reconcileCounters(hive.ctx),
      ])
      await Promise.all([...claims.map((claim) => complete(worker, claim)), reconcileCounters(hive.ctx)])
    }
    assert.equal(counterDrift(hive.ctx), 0)
    assert.deepEqual(await findDrift(hive), [])
    assert.equal((await getJob(hive, ada, (await submitted(hive, ada, projectId)).id)).state, 'queued')
  })
})
