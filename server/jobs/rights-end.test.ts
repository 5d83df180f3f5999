import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { searchCode } from '@hivesync/contracts/search.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import {
  beat,
  complete,
  findDrift,
  getJob,
  repository,
  setTier,
  submit,
  submitted,
  take,
  trueCommand,
} from '../../test/harness/jobs.ts'
import { importPharosToken } from '../keys/keys.ts'
import { system } from '../platform/actor.ts'
import { endRightlessJobs, retryJob, submitJob } from './jobs.ts'
import { endRightless } from './rights-lost.ts'

async function setup(hive: Hive) {
  const ada = await hive.person('ada')
  await setTier(hive, ada, 'pro')
  return { ada, projectId: await hive.project(ada), worker: await hive.worker({ slots: 16 }) }
}

type Scope = keys.ApiKey['scopes'][number]
async function createKey(
  hive: Hive,
  { token }: Person,
  scopes: Scope[],
  more: { projectId?: string; seconds?: number } = {},
) {
  const { projectId, seconds } = more
  const body = {
    ...{ name: 'ci', scopes },
    ...(projectId !== undefined && { projectId }),
    ...(seconds !== undefined && { expiresAt: new Date(hive.clock.now() + seconds * 1000).toISOString() }),
  }
  const reply = await hive.call(keys.createApiKey, { token, body })
  return { id: reply.body.id, token: reply.body.apiKey }
}

const stateOf = async (hive: Hive, person: Person, { id }: { id: string }) => (await getJob(hive, person, id)).state
const ingested = { commit: 'a'.repeat(40), branch: 'main', files: 1, bytes: 7 }
const submitIngest = async (hive: Hive, { token }: { token: string }, projectId: string) => {
  const body = { kind: 'ingest' as const, input: { repository } }
  return (await hive.call(contract.submitJob, { token, params: { projectId }, body })).body
}

describeHive('a job submitted with an API key', (open) => {
  test('is not stored, nor queued again, once the key that opened the request is revoked', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const key = await createKey(hive, ada, ['write'])
    const job = await submitted(hive, ada, projectId)
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    const permissions = new Set(['jobs:write', 'jobs:read'] as const)
    const actor = { ...system, kind: 'key' as const, id: key.id, userId: ada.userId, permissions }
    await hive.call(keys.revokeApiKey, { token: ada.token, params: { apiKeyId: key.id } })
    await assert.rejects(submitJob(hive.ctx, actor, projectId, { kind: 'compute', input: trueCommand }), {
      code: 'invalid_token',
    })
    await assert.rejects(retryJob(hive.ctx, actor, job.id), { code: 'invalid_token' })
    assert.equal((await hive.ctx.db.kysely.selectFrom('jobs').select('id').execute()).length, 1)
  })

  test('ends with its key in the same moment, and no other key’s job does', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const [lost, kept] = [await createKey(hive, ada, ['write']), await createKey(hive, ada, ['write'])]
    const running = (await submit(hive, lost, projectId)).body
    const claim = await take(worker)
    const waiting = (await submit(hive, lost, projectId)).body
    const others = [(await submit(hive, kept, projectId)).body, await submitted(hive, ada, projectId)]
    const reply = await hive.call(keys.revokeApiKey, { token: ada.token, params: { apiKeyId: lost.id } })
    assert.equal(reply.status, 204)
    for (const job of [running, waiting]) assert.equal(await stateOf(hive, ada, job), 'canceled')
    for (const job of others) assert.equal(await stateOf(hive, ada, job), 'queued')
    assert.deepEqual(await beat(worker, claim), ['lost'])
    assert.equal((await complete(worker, claim)).problem.code, 'lease_lost')
    const audit = hive.ctx.db.kysely.selectFrom('auditEvents').select('actorId').where('action', '=', 'job.canceled')
    assert.deepEqual(
      (await audit.execute()).map(({ actorId }) => actorId),
      [ada.userId, ada.userId],
    )
    assert.deepEqual(await findDrift(hive), [])
  })

  test('ends when its key’s time is over, which nobody has to say: no beat, claim or completion passes, before the sweep or after', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const key = await createKey(hive, ada, ['write'], { seconds: 10 })
    const jobs = []
    for (let i = 0; i < 4; i++) jobs.push((await submit(hive, key, projectId)).body)
    const [first, second] = [await take(worker), await take(worker)]
    hive.clock.advance(9999)
    assert.deepEqual(await beat(worker, first, second), ['ok', 'ok'])
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    hive.clock.advance(1)
    assert.deepEqual(await beat(worker, first, second), ['lost', 'lost'])
    for (let again = 0; again < 2; again++)
      assert.equal((await complete(worker, first, { outcome: 'succeeded' })).problem.code, 'lease_lost')
    assert.deepEqual(await worker.claim(1), [])
    assert.deepEqual((await Promise.all(jobs.map((job) => stateOf(hive, ada, job)))).sort(), [
      'canceled',
      'canceled',
      'queued',
      'running',
    ])
    assert.deepEqual(await findDrift(hive), [])
    assert.equal(await endRightlessJobs(hive.ctx), 2)
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    assert.equal((await complete(worker, second)).problem.code, 'lease_lost')
    for (const job of jobs) assert.equal((await getJob(hive, ada, job.id)).error?.code, 'rights_ended')
    const ends = hive.ctx.db.kysely.selectFrom('outbox').select('seq').where('topic', '=', 'job.canceled')
    assert.equal((await ends.execute()).length, 4)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('publishes nothing from the moment on at which its key is over', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const key = await createKey(hive, ada, ['ingest'], { projectId, seconds: 10 })
    await hive.inject({
      ...{ method: 'POST', url: '/ingest', payload: { repo_url: repository } },
      headers: { authorization: `Bearer ${key.token}` },
    })
    const claim = await take(worker)
    const params = { token: String(claim.token) }
    const body = { batch: 0, files: [{ path: 'a.txt', language: null, text: 'phantom' }] }
    assert.equal((await worker.call(protocol.uploadIndex, { params, body })).status, 204)
    hive.clock.advance(10_000)
    const late = await complete(worker, claim, { outcome: 'succeeded', result: ingested })
    assert.equal(late.problem.code, 'lease_lost')
    assert.equal(await stateOf(hive, ada, { id: claim.jobId }), 'canceled')
    assert.equal((await hive.ctx.db.kysely.selectFrom('mirrors').select('projectId').execute()).length, 0)
    const found = await hive.call(searchCode, { token: ada.token, query: { q: 'phantom' } })
    assert.equal(found.body.items.length, 0)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('acts with no more than the key and its owner have: scope, project and role each end it', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const other = await hive.project(ada, 'other')
    const db = hive.ctx.db.kysely
    const setKey = (id: string, change: object) => db.updateTable('apiKeys').set(change).where('id', '=', id).execute()
    for (const change of [
      { scopes: '["read"]' },
      { scopes: '["ingest"]' },
      { projectId: other },
      { userId: null, projectId },
    ]) {
      const key = await createKey(hive, ada, ['jobs:write'])
      const { body: job } = await submit(hive, key, projectId)
      assert.equal(await endRightlessJobs(hive.ctx), 0)
      await setKey(key.id, change)
      assert.deepEqual(await worker.claim(), [], JSON.stringify(change))
      assert.equal(await stateOf(hive, ada, job), 'canceled')
    }
    const key = await createKey(hive, ada, ['ingest'], { projectId })
    await hive.inject({
      ...{ method: 'POST', url: '/ingest', payload: { repo_url: repository } },
      headers: { authorization: `Bearer ${key.token}` },
    })
    assert.equal((await worker.claim()).length, 1, 'the scope to ingest is enough for that')
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    await db.updateTable('jobs').set({ kind: 'compute' }).where('state', '=', 'leased').execute()
    assert.equal(await endRightlessJobs(hive.ctx), 1, 'and for nothing else')
  })

  test('of the operator lives as long as the setting holds the key', async () => {
    const pharosToken = 'a token that an operator chose by hand'.replaceAll(' ', '-')
    await using hive = await open({ config: { pharosToken } })
    await importPharosToken(hive.ctx)
    const worker = await hive.worker()
    const headers = { authorization: `Bearer ${pharosToken}` }
    for (let i = 0; i < 2; i++)
      await hive.inject({ method: 'POST', url: '/ingest', payload: { repo_url: repository }, headers })
    const claim = await take(worker)
    assert.deepEqual(await beat(worker, claim), ['ok'])
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    await importPharosToken({ ...hive.ctx, config: { ...hive.ctx.config, pharosToken: null } })
    assert.deepEqual(await beat(worker, claim), ['lost'])
    assert.equal(await endRightlessJobs(hive.ctx), 2)
    assert.deepEqual(await findDrift(hive), [])
  })
})

describeHive('a job whose rights were changed behind our back', (open) => {
  const changes = {
    'the membership is gone': (hive: Hive, { userId }: Person) =>
      hive.ctx.db.kysely.deleteFrom('projectMembers').where('userId', '=', userId).execute(),
    'the person is deactivated': (hive: Hive, { userId }: Person) =>
      hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', userId).execute(),
    'the row says nobody': (hive: Hive) =>
      hive.ctx.db.kysely.updateTable('jobs').set({ submittedByUser: null }).execute(),
  }
  for (const [what, change] of Object.entries(changes))
    test(`${what}: it is never handed out and publishes nothing, and others’ are handed out beside it`, async () => {
      await using hive = await open()
      const { ada, projectId, worker } = await setup(hive)
      const bob = await hive.person('bob')
      const add = { username: 'bob', role: 'editor' as const }
      await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body: add })
      const running = await submitIngest(hive, bob, projectId)
      const claim = await take(worker)
      const waiting = await submitted(hive, bob, projectId)
      await change(hive, bob)
      const own = await submitted(hive, ada, projectId)
      const claims = await worker.claim(2)
      assert.deepEqual(
        claims.map(({ jobId }) => jobId),
        [own.id],
      )
      assert.equal(await stateOf(hive, ada, waiting), 'canceled')
      assert.deepEqual(await findDrift(hive), [])
      const late = await complete(worker, claim, { outcome: 'succeeded', result: ingested })
      assert.equal(late.problem.code, 'lease_lost')
      assert.equal(await stateOf(hive, ada, running), 'canceled')
      assert.equal((await hive.ctx.db.kysely.selectFrom('mirrors').select('projectId').execute()).length, 0)
      assert.equal(await endRightlessJobs(hive.ctx), 0)
      assert.deepEqual(await findDrift(hive), [])
    })

  test('one that has its rights again when it is to be ended, or has ended, is left alone', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const [done, held, waiting] = [
      await submitted(hive, ada, projectId),
      await submitted(hive, ada, projectId),
      await submitted(hive, ada, projectId),
    ]
    await complete(worker, await take(worker))
    const claim = await take(worker)
    const end = () =>
      hive.ctx.db.transaction((tx) =>
        endRightless(hive.ctx, tx, system, [done.id, held.id, waiting.id, hive.ctx.random.id()]),
      )
    assert.deepEqual(await end(), [])
    assert.deepEqual(await beat(worker, claim), ['ok'])
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', ada.userId).execute()
    assert.deepEqual((await end()).sort(), [held.id, waiting.id])
    assert.deepEqual(await end(), [])
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a slot that such jobs left free is filled at once, however many there are', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const db = hive.ctx.db.kysely
    const key = await createKey(hive, ada, ['write'])
    for (let i = 0; i < 20; i++) await submit(hive, key, projectId, { priority: 9 })
    const own = await submitted(hive, ada, projectId)
    await db.updateTable('apiKeys').set({ revokedAt: 1 }).where('id', '=', key.id).execute()
    let looks = 0
    hive.ctx.bus.subscribe('jobs', () => {
      looks++
    })
    const claims = await worker.claim(4, 20)
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [own.id],
    )
    assert.equal(looks, 5, 'each four that ended called for the next look, and the last found this one')
    assert.deepEqual(await findDrift(hive), [])
  })
})

describeHive('a job that somebody ran again', (open) => {
  test('stands on who ran it again, and no more on who is gone', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const bob = await hive.person('bob')
    const add = { username: 'bob', role: 'editor' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body: add })
    const job = await submitted(hive, bob, projectId)
    const gone = { projectId, userId: bob.userId }
    await hive.call(projects.removeProjectMember, { token: ada.token, params: gone })
    assert.equal(await stateOf(hive, ada, job), 'canceled')
    const again = await hive.call(contract.retryJob, { token: ada.token, params: { jobId: job.id } })
    assert.deepEqual([again.body.state, again.body.error], ['queued', null])
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    assert.equal((await complete(worker, await take(worker))).body.state, 'succeeded')
  })

  test('by an admin stands on the admin, and ends with the role', async () => {
    await using hive = await open()
    const { ada, projectId, worker } = await setup(hive)
    const admin = await hive.admin()
    const [whole, narrow] = [await createKey(hive, admin, ['admin']), await createKey(hive, admin, ['admin'])]
    const jobs = []
    for (const { token } of [admin, whole, narrow]) {
      const job = await submitted(hive, ada, projectId)
      await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
      assert.equal((await hive.call(contract.retryJob, { token, params: { jobId: job.id } })).status, 200)
      jobs.push(job)
    }
    assert.equal(await endRightlessJobs(hive.ctx), 0)
    const db = hive.ctx.db.kysely
    await db.updateTable('apiKeys').set({ scopes: '["write"]' }).where('id', '=', narrow.id).execute()
    assert.equal(await endRightlessJobs(hive.ctx), 1, 'a key that is no admin’s reaches only its owner’s projects')
    const claim = await take(worker)
    await db.updateTable('users').set({ adminSince: null }).where('id', '=', admin.userId).execute()
    assert.deepEqual(await beat(worker, claim), ['lost'])
    assert.equal(await endRightlessJobs(hive.ctx), 2)
    for (const job of jobs) assert.equal(await stateOf(hive, ada, job), 'canceled')
  })
})
