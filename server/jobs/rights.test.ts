import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, getJob, setTier, start, submit, submitted } from '../../test/harness/jobs.ts'
import { system } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { type Revocation, revoking } from '../platform/revocation.ts'
import { endRightlessJobs, reapLeases } from './jobs.ts'
import { policy } from './policy.ts'

interface Scene {
  hive: Hive
  ada: Person
  bob: Person
  projectId: string
  worker: TestWorker
}

/** Ada owns a project in which Bob is an editor. */
async function setup(hive: Hive): Promise<Scene> {
  const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
  await setTier(hive, ada, 'pro')
  const projectId = await hive.project(ada)
  const body = { username: 'bob', role: 'editor' as const }
  await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
  return { hive, ada, bob, projectId, worker: await hive.worker({ slots: 16 }) }
}

async function createKey({ hive, bob }: Scene, more: { projectId?: string; expiresAt?: string } = {}) {
  const body = { name: 'ci', scopes: ['jobs:write' as const], ...more }
  const reply = await hive.call(keys.createApiKey, { token: bob.token, body })
  return { id: reply.body.id, token: reply.body.apiKey }
}

/** A job in each place there is: waiting, leased and running. */
async function jobsOf({ hive, projectId, worker }: Scene, submitter: { token: string }) {
  const ids: string[] = []
  // What shall wait is not asked for first.
  for (const priority of [9, 9, 0]) ids.push((await submit(hive, submitter, projectId, { priority })).body.id)
  const [running, leased] = await worker.claim(2)
  assert.ok(running !== undefined && leased !== undefined && ids.includes(running.jobId) && ids.includes(leased.jobId))
  assert.equal((await start(worker, running)).status, 204)
  return { ids, running, leased }
}

const statesOf = (hive: Hive, person: Person, ids: readonly string[]) =>
  Promise.all(ids.map(async (id) => (await getJob(hive, person, id)).state))

/** That the jobs ended for their rights, each once and told of once, by whom; and that their worker is told of it and no more believed. */
async function requireEnded(scene: Scene, jobs: Awaited<ReturnType<typeof jobsOf>>, by: string): Promise<void> {
  const { hive, ada, worker } = scene
  const { ids, running, leased } = jobs
  assert.deepEqual(await statesOf(hive, ada, ids), ['canceled', 'canceled', 'canceled'])
  assert.deepEqual(await beat(worker, running, leased), ['lost', 'lost'])
  assert.equal((await start(worker, leased)).status, 409)
  for (const outcome of ['succeeded', 'returned'] as const)
    assert.equal((await complete(worker, running, { outcome })).problem.code, 'lease_lost')
  hive.clock.advance(policy.leaseTtlMs)
  await reapLeases(hive.ctx)
  assert.deepEqual(await statesOf(hive, ada, ids), ['canceled', 'canceled', 'canceled'])
  const db = hive.ctx.db.kysely
  for (const id of ids) {
    assert.equal((await getJob(hive, ada, id)).error?.code, 'rights_ended')
    const acts = db
      .selectFrom('auditEvents')
      .selectAll()
      .where('targetId', '=', id)
      .where('action', '<>', 'job.submitted')
    assert.deepEqual(
      (await acts.execute()).map(({ action, actorKind, actorId, details }) => [
        action,
        actorId ?? actorKind,
        JSON.parse(details).reason,
      ]),
      [['job.canceled', by, 'rights_ended']],
    )
    const told = await db
      .selectFrom('outbox')
      .select(['topic', 'payload'])
      .where('topic', '=', 'job.canceled')
      .execute()
    assert.equal(told.filter(({ payload }) => payload.includes(id)).length, 1)
    const events = await db.selectFrom('jobEvents').select('data').where('jobId', '=', id).orderBy('seq').execute()
    assert.deepEqual(JSON.parse(events.at(-1)?.data ?? ''), { state: 'canceled', reason: 'rights_ended' })
  }
  assert.deepEqual(await findDrift(hive), [])
}

/** A change that takes rights away, as a verb makes it. */
function revoke({ hive }: Scene, revocation: Revocation, change: (tx: Db) => Promise<unknown>): Promise<void> {
  return revoking(hive.ctx, system, async (tx, revokeIn) => {
    await change(tx)
    await revokeIn(revocation)
  })
}

const params = ({ projectId, bob }: Scene) => ({ projectId, userId: bob.userId })
const setUser = (tx: Db, { bob }: Scene, change: { deactivatedAt?: number; erasedAt?: number }) =>
  tx.updateTable('users').set(change).where('id', '=', bob.userId).execute()

/** What takes a member's rights away, and who did it. */
const causes: Record<string, (scene: Scene) => Promise<string>> = {
  'a deactivated person': async (scene) => {
    await revoke(scene, { users: [scene.bob.userId] }, (tx) => setUser(tx, scene, { deactivatedAt: 1 }))
    return 'system'
  },
  'an erased person': async (scene) => {
    await revoke(scene, { users: [scene.bob.userId] }, (tx) => setUser(tx, scene, { erasedAt: 1 }))
    return 'system'
  },
  'a member who became a viewer': async (scene) => {
    const { hive, ada } = scene
    const reply = await hive.call(projects.changeProjectMember, {
      token: ada.token,
      params: params(scene),
      body: { role: 'viewer' },
    })
    assert.equal(reply.status, 200)
    return ada.userId
  },
  'a member who was taken out of the project': async (scene) => {
    const { hive, ada } = scene
    assert.equal(
      (await hive.call(projects.removeProjectMember, { token: ada.token, params: params(scene) })).status,
      204,
    )
    return ada.userId
  },
  'a member of a project from which everybody was taken': async (scene) => {
    const { bob, projectId } = scene
    await revoke(scene, { projects: [projectId] }, (tx) =>
      tx.deleteFrom('projectMembers').where('userId', '=', bob.userId).execute(),
    )
    return 'system'
  },
}

describeHive('a job whose submitter lost the right to submit it', (open) => {
  for (const [who, happen] of Object.entries(causes))
    test(`${who}: waiting, leased or running, it ends in the same moment, once, and counts nowhere any more`, async () => {
      await using hive = await open()
      const scene = await setup(hive)
      const theirs = await jobsOf(scene, scene.bob)
      const keyed = await jobsOf(scene, await createKey(scene))
      const others = await jobsOf(scene, scene.ada)
      const by = await happen(scene)
      assert.deepEqual(await statesOf(hive, scene.ada, others.ids), ['running', 'leased', 'queued'])
      assert.deepEqual(await beat(scene.worker, others.running, others.leased), ['ok', 'ok'])
      assert.equal((await complete(scene.worker, others.running)).status, 200)
      assert.equal((await complete(scene.worker, others.leased)).status, 200)
      const claims = await scene.worker.claim(9)
      assert.deepEqual(
        claims.map(({ jobId }) => jobId),
        others.ids.slice(2),
      )
      for (const claim of claims) await complete(scene.worker, claim)
      for (const jobs of [theirs, keyed]) await requireEnded(scene, jobs, by)
    })

  test('a role in the team that ended ends the jobs in its projects, unless the project itself has them as a member', async () => {
    await using hive = await open()
    const scene = await setup(hive)
    const cyd = await hive.person('cyd')
    const db = hive.ctx.db.kysely
    for (const { userId } of [cyd, scene.bob])
      await db
        .insertInto('teamMembers')
        .values({ teamId: scene.ada.teamId, userId, role: 'admin', createdAt: 0 })
        .execute()
    const [cyds, bobs] = [await jobsOf(scene, cyd), await jobsOf(scene, scene.bob)]
    await revoke(scene, { teams: [scene.ada.teamId] }, (tx) =>
      tx
        .updateTable('teamMembers')
        .set({ role: 'member' })
        .where('userId', 'in', [cyd.userId, scene.bob.userId])
        .execute(),
    )
    assert.deepEqual(await statesOf(hive, scene.ada, bobs.ids), ['running', 'leased', 'queued'])
    await requireEnded(scene, cyds, 'system')
  })

  test('a member who became an owner, or left another project, keeps them', async () => {
    await using hive = await open()
    const scene = await setup(hive)
    const { ada, bob, projectId } = scene
    const jobs = await jobsOf(scene, bob)
    const other = await hive.project(ada, 'other')
    const body = { username: 'bob', role: 'editor' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId: other }, body })
    const left = { projectId: other, userId: bob.userId }
    assert.equal((await hive.call(projects.removeProjectMember, { token: bob.token, params: left })).status, 204)
    const change = { token: ada.token, params: params(scene), body: { role: 'owner' as const } }
    assert.equal((await hive.call(projects.changeProjectMember, change)).status, 200)
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    assert.deepEqual(await statesOf(hive, ada, jobs.ids), ['running', 'leased', 'queued'])
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body: { archived: true } })
    assert.equal(await endRightlessJobs(hive.ctx), 0, 'an archived project finishes what it has')
  })

  test('more waiting jobs than one commit ends: none of them can be claimed, and the sweep ends the rest', async () => {
    await using hive = await open()
    const scene = await setup(hive)
    const { ada, bob, projectId, worker } = scene
    const { id } = await submitted(hive, bob, projectId)
    const db = hive.ctx.db.kysely
    const job = await db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    const queued = await db.selectFrom('jobQueue').selectAll().where('jobId', '=', id).executeTakeFirstOrThrow()
    const ids = Array.from({ length: 600 }, () => hive.ctx.random.id())
    for (let at = 0; at < ids.length; at += 200) {
      const some = ids.slice(at, at + 200)
      await db
        .insertInto('jobs')
        .values(some.map((id) => ({ ...job, id })))
        .execute()
      await db
        .insertInto('jobQueue')
        .values(some.map((jobId) => ({ ...queued, jobId })))
        .execute()
    }
    await db.updateTable('queueCounters').set({ waiting: 601 }).where('projectId', '=', projectId).execute()
    await db.updateTable('teamShares').set({ waiting: 601 }).where('teamId', '=', ada.teamId).execute()
    await hive.call(projects.removeProjectMember, { token: ada.token, params: params(scene) })
    assert.equal((await db.selectFrom('jobQueue').select('jobId').execute()).length, 101)
    assert.deepEqual(await worker.claim(8), [])
    assert.equal((await db.selectFrom('jobQueue').select('jobId').execute()).length, 93)
    assert.equal(await endRightlessJobs(hive.ctx), 93)
    assert.deepEqual(await findDrift(hive), [])
    assert.equal((await hive.call(contract.getJob, { token: ada.token, params: { jobId: id } })).body.state, 'canceled')
  })
})
