import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import fc from 'fast-check'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, getJob, setTier, start, submit, submitted } from '../../test/harness/jobs.ts'
import { endRightlessJobs, reapLeases } from './jobs.ts'
import { hasRights } from './rights.ts'

const verbs = ['submit', 'submit', 'claim', 'claim', 'start', 'complete', 'return', 'beat', 'cancel', 'retry'] as const
const act = fc.record({
  verb: fc.constantFrom(...verbs, 'remove', 'demote', 'add', 'revoke', 'sweep', 'reap'),
  pick: fc.nat(1000),
})
// Acts of a round happen at once.
const rounds = fc.array(fc.array(act, { minLength: 2, maxLength: 7 }), { minLength: 3, maxLength: 10 })

interface World {
  hive: Hive
  ada: Person
  bob: Person
  projectId: string
  key: { id: string; token: string }
  worker: TestWorker
  jobs: string[]
  leases: { token: number; jobId: string }[]
}

async function createKey(hive: Hive, { token }: Person) {
  const reply = await hive.call(keys.createApiKey, { token, body: { name: 'ci', scopes: ['jobs:write'] } })
  return { id: reply.body.id, token: reply.body.apiKey }
}

async function openWorld(hive: Hive): Promise<World> {
  const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
  await setTier(hive, ada, 'pro')
  const projectId = await hive.project(ada)
  const world: World = {
    ...{ hive, ada, bob, projectId, jobs: [], leases: [] },
    ...{ key: await createKey(hive, bob), worker: await hive.worker({ slots: 8 }) },
  }
  await happen(world, 'add', 0)
  return world
}

async function happen(world: World, verb: string, pick: number): Promise<number | undefined> {
  const { hive, ada, bob, projectId, worker, jobs, leases } = world
  const params = { projectId, userId: bob.userId }
  const lease = leases[pick % Math.max(1, leases.length)]
  const jobId = jobs[pick % Math.max(1, jobs.length)]
  if (verb === 'submit') {
    const reply = await submit(hive, [ada, bob, world.key][pick % 3] ?? ada, projectId, { maxAttempts: 3 })
    if (reply.status === 201) jobs.push(reply.body.id)
    return reply.status
  }
  if (verb === 'claim') for (const claim of await worker.claim(1 + (pick % 3))) leases.push(claim)
  if (verb === 'sweep') await endRightlessJobs(hive.ctx)
  if (verb === 'reap') await reapLeases(hive.ctx)
  if (verb === 'beat') await beat(worker, ...leases)
  if (verb === 'start' && lease !== undefined) return (await start(worker, lease)).status
  if (verb === 'complete' && lease !== undefined) return (await complete(worker, lease)).status
  if (verb === 'return' && lease !== undefined) return (await complete(worker, lease, { outcome: 'returned' })).status
  if (verb === 'remove') return (await hive.call(projects.removeProjectMember, { token: ada.token, params })).status
  const body = { username: 'bob', role: 'editor' as const }
  if (verb === 'add')
    return (await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })).status
  if (verb === 'demote') {
    const role = pick % 2 === 0 ? ('viewer' as const) : ('editor' as const)
    return (await hive.call(projects.changeProjectMember, { token: ada.token, params, body: { role } })).status
  }
  if (verb === 'revoke') {
    const { id } = world.key
    world.key = await createKey(hive, bob)
    return (await hive.call(keys.revokeApiKey, { token: bob.token, params: { apiKeyId: id } })).status
  }
  const verbOf = { cancel: contract.cancelJob, retry: contract.retryJob }[verb]
  if (verbOf === undefined || jobId === undefined) return
  return (await hive.call(verbOf, { token: [ada, bob][pick % 2]?.token ?? '', params: { jobId } })).status
}

/** Jobs that have not ended though their rights have. */
async function listRightless({ ctx }: Hive): Promise<string[]> {
  const rows = ctx.db.kysely.selectFrom('jobs').select('id').where('finishedAt', 'is', null)
  return (await rows.where(hasRights(ctx.clock.now()), '=', 0).execute()).map(({ id }) => id)
}

describeHive('rights that end while jobs are submitted, claimed, completed and run again', (open, { dialect }) => {
  test('whatever happens at once: no job outlives its rights, no counter drifts, nothing fails', async () => {
    await using hive = await open()
    const world = await openWorld(hive)
    await fc.assert(
      fc.asyncProperty(rounds, async (all) => {
        for (const acts of all) {
          const statuses = await Promise.all(acts.map(({ verb, pick }) => happen(world, verb, pick)))
          for (const status of statuses)
            assert.ok([undefined, 200, 201, 204, 401, 403, 404, 409, 429].includes(status), String(status))
          // On PostgreSQL a submission may commit just after the revocation that did not see it: the sweep is for that.
          if (dialect === 'postgres') await endRightlessJobs(hive.ctx)
          assert.deepEqual(await listRightless(hive), [])
          assert.deepEqual(await findDrift(hive), [])
        }
      }),
      { numRuns: 25, endOnFailure: true },
    )
    const ended = hive.ctx.db.kysely.selectFrom('jobs').select('id').where('error', 'like', '%rights_ended%')
    assert.ok((await ended.execute()).length > 0)
    assert.deepEqual(
      hive.logged.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })

  test('a revocation and a completion at the same moment: either the job ended before, or the completion is refused', async () => {
    await using hive = await open()
    const { ada, bob, projectId, worker } = await openWorld(hive)
    for (let round = 0; round < 15; round++) {
      const { id } = await submitted(hive, bob, projectId)
      const [claim] = await worker.claim()
      assert.ok(claim !== undefined)
      const params = { projectId, userId: bob.userId }
      const [completion, removal] = await Promise.all([
        complete(worker, claim),
        hive.call(projects.removeProjectMember, { token: ada.token, params }),
      ])
      assert.equal(removal.status, 204)
      const { state } = await getJob(hive, ada, id)
      assert.equal(state, completion.status === 200 ? 'succeeded' : 'canceled')
      const body = { username: 'bob', role: 'editor' as const }
      await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a revocation and fifty claims at the same moment: nobody is left with a lease', async () => {
    await using hive = await open()
    const { ada, bob, projectId } = await openWorld(hive)
    const drones = await Promise.all(Array.from({ length: 5 }, () => hive.worker({ slots: 10 })))
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 12; i++) await submitted(hive, bob, projectId)
      const params = { projectId, userId: bob.userId }
      const claims = Array.from({ length: 50 }, (_, i) => drones[i % drones.length]?.claim() ?? [])
      await Promise.all([...claims, hive.call(projects.removeProjectMember, { token: ada.token, params })])
      assert.deepEqual(await listRightless(hive), [])
      assert.equal((await hive.ctx.db.kysely.selectFrom('jobLeases').select('token').execute()).length, 0)
      assert.deepEqual(await findDrift(hive), [])
      const body = { username: 'bob', role: 'editor' as const }
      await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    }
  })

  test('a worker that is revoked while it completes: what it held is done or waits again, in the same moment', async () => {
    await using hive = await open()
    const { ada, projectId } = await openWorld(hive)
    const { token } = await hive.admin()
    for (let round = 0; round < 6; round++) {
      const worker = await hive.worker({ slots: 4 })
      const ids: string[] = []
      for (let i = 0; i < 4; i++) ids.push((await submitted(hive, ada, projectId, { priority: 9 })).id)
      const claims = await worker.claim(4)
      const [revoked, ...completions] = await Promise.all([
        hive.call(workers.revokeWorker, { token, params: { workerId: worker.id } }),
        ...claims.slice(0, 3).map((claim) => complete(worker, claim)),
      ])
      assert.equal(revoked.status, 204)
      const left = hive.ctx.db.kysely.selectFrom('jobLeases').select('token').where('workerId', '=', worker.id)
      assert.deepEqual(await left.execute(), [])
      for (const [i, { jobId }] of claims.entries()) {
        const { state } = await getJob(hive, ada, jobId)
        assert.equal(state, completions[i]?.status === 200 ? 'succeeded' : 'queued')
        await hive.call(contract.cancelJob, { token: ada.token, params: { jobId } })
      }
      assert.deepEqual(await findDrift(hive), [])
    }
  })
})
