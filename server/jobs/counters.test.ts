import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import fc from 'fast-check'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, start, submit } from '../../test/harness/jobs.ts'
import { reapLeases, skipExpired } from './jobs.ts'

/** One thing that happens; the numbers choose a project, a job or a lease of those there are. */
const act = fc.record({
  verb: fc.constantFrom(
    'submit',
    'submit',
    'cancel',
    'retry',
    'claim',
    'claim',
    'start',
    'complete',
    'fail',
    'return',
    'beat',
    'reap',
    'skip',
  ),
  pick: fc.nat(1000),
})
// A round's acts happen at once, then time passes.
const round = fc.record({
  acts: fc.array(act, { minLength: 1, maxLength: 6 }),
  passMs: fc.constantFrom(0, 0, 1000, 6000, 30_000),
})

interface World {
  hive: Hive
  people: { person: Person; projectId: string }[]
  workers: TestWorker[]
  jobs: { person: Person; id: string }[]
  leases: { worker: TestWorker; token: number }[]
}

const chosen = <T>(items: readonly T[], pick: number): T | undefined => items[pick % Math.max(1, items.length)]

async function happen(world: World, { verb, pick }: { verb: string; pick: number }): Promise<number | undefined> {
  const { hive, jobs, leases } = world
  const owner = chosen(world.people, pick)
  const job = chosen(jobs, pick)
  const lease = chosen(leases, pick)
  const worker = chosen(world.workers, pick)
  if (owner === undefined || worker === undefined) return
  if (verb === 'submit') {
    const options = { ttlSeconds: pick % 3 === 0 ? 20 : 600, maxAttempts: 1 + (pick % 3), priority: pick % 10 }
    const reply = await submit(hive, owner.person, owner.projectId, options)
    if (reply.status === 201) jobs.push({ person: owner.person, id: reply.body.id })
    return reply.status
  }
  if (verb === 'claim') {
    for (const { token } of await worker.claim(1 + (pick % 3))) leases.push({ worker, token })
    return
  }
  if (verb === 'reap') await reapLeases(hive.ctx)
  if (verb === 'skip') await skipExpired(hive.ctx)
  if (job !== undefined && verb === 'cancel')
    return (await hive.call(contract.cancelJob, { token: job.person.token, params: { jobId: job.id } })).status
  if (job !== undefined && verb === 'retry')
    return (await hive.call(contract.retryJob, { token: job.person.token, params: { jobId: job.id } })).status
  if (lease === undefined) return
  if (verb === 'start') return (await start(lease.worker, lease)).status
  if (verb === 'beat') await beat(lease.worker, ...leases.filter((other) => other.worker === lease.worker))
  if (verb === 'complete') return (await complete(lease.worker, lease)).status
  if (verb === 'fail') {
    const infrastructure = pick % 2 === 0
    return (await complete(lease.worker, lease, { outcome: 'failed', infrastructure })).status
  }
  if (verb === 'return') return (await complete(lease.worker, lease, { outcome: 'returned' })).status
  return
}

describeHive('counters', (open) => {
  test('whatever happens at once, in whatever order: no counter drifts, every job is where its state says, nothing fails', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const people = []
    for (const person of [ada, ada, bob]) people.push({ person, projectId: await hive.project(person) })
    const world: World = { hive, people, workers: [await hive.worker(), await hive.worker()], jobs: [], leases: [] }
    let passedMs = 0
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 10 }), async (rounds) => {
        for (const { acts, passMs } of rounds) {
          const statuses = await Promise.all(acts.map((one) => happen(world, one)))
          for (const status of statuses)
            assert.ok([undefined, 200, 201, 204, 409, 429].includes(status), String(status))
          assert.deepEqual(await findDrift(hive), [])
          // Sessions end after 15 minutes; the jobs of a run stay for the next.
          if (passedMs + passMs < 800_000) {
            hive.clock.advance(passMs)
            passedMs += passMs
          }
        }
      }),
      { numRuns: 25, endOnFailure: true },
    )
    const caps = await hive.ctx.db.kysely.selectFrom('queueCounters').select(['waiting', 'maxWaiting']).execute()
    assert.ok(caps.length > 0)
    assert.deepEqual(
      hive.logged.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })

  test('every job reaches one final state, told once to the outbox', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const people = [{ person: ada, projectId: await hive.project(ada) }]
    const world: World = { hive, people, workers: [await hive.worker(), await hive.worker()], jobs: [], leases: [] }
    for (let pick = 0; pick < 60; pick++) {
      await Promise.all(
        ['submit', 'claim', 'start', 'complete', 'cancel', 'skip'].map((verb) => happen(world, { verb, pick })),
      )
      hive.clock.advance(1000)
    }
    for (const { id } of world.jobs) await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: id } })
    hive.clock.advance(60_000)
    await reapLeases(hive.ctx)
    const states = await hive.ctx.db.kysely.selectFrom('jobs').select(['id', 'state']).execute()
    const told = await hive.ctx.db.kysely.selectFrom('outbox').select(['topic', 'payload']).orderBy('seq').execute()
    for (const { id, state } of states) {
      const topics = told.filter(({ payload }) => payload.includes(id)).map(({ topic }) => topic)
      assert.deepEqual(topics, ['job.submitted', `job.${state}`])
    }
    assert.ok(states.length > 20)
    assert.deepEqual(await findDrift(hive), [])
  })
})
