import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import * as contract from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { submitted, take } from '../../test/harness/jobs.ts'
import { createDispatcher, prune } from '../jobs/jobs.ts'
import { system } from '../platform/actor.ts'
import { createBus } from '../platform/bus.ts'
import { hearIdentityNews } from '../platform/identity-news.ts'
import { claimJobs } from './workers.ts'

const enrol = (hive: Hive, enrolmentToken: string, publicKey = generateEncodedKeyPair().publicKey) =>
  hive.call(protocol.enrolWorker, { body: { enrolmentToken, name: 'drone', publicKey } })

async function newToken(hive: Hive, body: { name?: string; teamId?: string; ttlSeconds?: number } = {}) {
  const { token } = await hive.admin()
  return (await hive.call(contract.createEnrolment, { token, body })).body.enrolmentToken
}

describeHive('enrolment', (open) => {
  test('of twenty machines with one token exactly one is enrolled', async () => {
    await using hive = await open()
    const token = await newToken(hive)
    const replies = await Promise.all(Array.from({ length: 20 }, () => enrol(hive, token)))
    assert.equal(replies.filter(({ status }) => status === 201).length, 1)
    for (const reply of replies.filter(({ status }) => status !== 201)) {
      assert.equal(reply.status, 401)
      assert.equal(reply.problem.code, 'invalid_enrolment_token')
    }
    assert.equal((await hive.ctx.db.kysely.selectFrom('workers').select('id').execute()).length, 1)
  })

  test('an expired, forged or used token is refused alike, and the token is stored nowhere', async () => {
    await using hive = await open()
    const expired = await newToken(hive, { ttlSeconds: 60 })
    hive.clock.advance(60_000)
    const used = await newToken(hive)
    assert.equal((await enrol(hive, used)).status, 201)
    for (const token of [expired, used, `${used}x`, 'hse_', "' or 1=1 --"]) {
      const reply = await enrol(hive, token)
      assert.equal(reply.status, 401)
      assert.equal(reply.problem.code, 'invalid_enrolment_token')
    }
    const rows = await hive.ctx.db.kysely.selectFrom('workerEnrolments').selectAll().execute()
    assert.equal(JSON.stringify(rows).includes(used), false)
    const acts = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['outcome', 'actorKind', 'details'])
      .where('action', '=', 'worker.enrolled')
      .orderBy('id')
      .execute()
    const refused = {
      outcome: 'refused',
      actorKind: 'nobody',
      details: '{"reason":"unknown, used, expired or revoked"}',
    }
    assert.deepEqual(acts.slice(1), Array(5).fill(refused))
    assert.equal(hive.logged.join('').includes(used), false)
  })

  test('a key pair that another worker has is refused and does not use the token up', async () => {
    await using hive = await open()
    const { publicKey } = generateEncodedKeyPair()
    assert.equal((await enrol(hive, await newToken(hive), publicKey)).status, 201)
    const token = await newToken(hive)
    assert.equal((await enrol(hive, token, publicKey)).status, 401)
    assert.equal((await enrol(hive, token)).status, 201)
  })

  test('keys of small order and texts that are no key are refused', async () => {
    await using hive = await open()
    const token = await newToken(hive)
    for (const key of ['A'.repeat(43), `AQ${'A'.repeat(41)}`, 'short', `${'A'.repeat(42)}=`])
      assert.equal((await enrol(hive, token, key)).status, 400, key)
    assert.equal((await enrol(hive, token)).status, 201)
  })

  test('the name and team of the enrolment count, not what the machine says', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const token = await newToken(hive, { name: 'forge', teamId: ada.teamId })
    assert.equal((await enrol(hive, token)).body.name, 'forge')
    const row = await hive.ctx.db.kysely.selectFrom('workers').selectAll().executeTakeFirstOrThrow()
    assert.equal(row.teamId, ada.teamId)
    const { token: admin } = await hive.admin()
    const body = { teamId: '01900000-0000-7000-8000-000000000000' }
    assert.equal((await hive.call(contract.createEnrolment, { token: admin, body })).problem.code, 'team_not_found')
  })

  test('only admins enrol, drain and revoke; an ordinary key of an admin does not', async () => {
    await using hive = await open()
    const [ada, admin] = [await hive.person('ada'), await hive.admin()]
    const worker = await hive.worker()
    const body = { name: 'ci', scopes: ['write' as const] }
    const key = (await hive.call(keys.createApiKey, { token: admin.token, body })).body.apiKey
    const bound = { name: 'one', scopes: ['admin' as const], projectId: await hive.project(admin) }
    const ofOneProject = (await hive.call(keys.createApiKey, { token: admin.token, body: bound })).body.apiKey
    for (const token of [ada.token, key, ofOneProject]) {
      assert.equal((await hive.call(contract.createEnrolment, { token, body: {} })).status, 403)
      for (const endpoint of [contract.drainWorker, contract.revokeWorker])
        assert.equal((await hive.call(endpoint, { token, params: { workerId: worker.id } })).status, 403)
    }
    const params = { workerId: '01900000-0000-7000-8000-000000000000' }
    for (const endpoint of [contract.drainWorker, contract.revokeWorker])
      assert.equal((await hive.call(endpoint, { token: admin.token, params })).problem.code, 'worker_not_found')
  })
})

describeHive('workers', (open) => {
  test('the list shows shared workers and those of own teams, with what they said of themselves', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const shared = await hive.worker({ labels: ['ssd', 'gpu'], slots: 3 })
    const own = await hive.worker({ teamId: ada.teamId })
    const list = async (token: string) => (await hive.call(contract.listWorkers, { token })).body.items
    assert.deepEqual(
      (await list(ada.token)).map(({ id }) => id),
      [own.id, shared.id],
    )
    assert.deepEqual(
      (await list(bob.token)).map(({ id, state }) => [id, state]),
      [[shared.id, 'offline']],
    )
    assert.equal((await list((await hive.admin()).token)).length, 2)
    await submitted(hive, ada, await hive.project(ada))
    await take(shared)
    const [row] = await list(bob.token)
    assert.deepEqual([row?.state, row?.labels, row?.slots, row?.running], ['online', ['gpu', 'ssd'], 3, 1])
    assert.equal('publicKey' in (row ?? {}), false)
  })

  test('a worker is offline after a minute of silence, draining when told, and gone when revoked', async () => {
    await using hive = await open()
    const { token } = await hive.admin()
    const worker = await hive.worker()
    const state = async () => (await hive.call(contract.listWorkers, { token })).body.items[0]?.state
    await worker.claim()
    assert.equal(await state(), 'online')
    hive.clock.advance(60_000)
    assert.equal(await state(), 'offline')
    await worker.claim()
    const drain = () => hive.call(contract.drainWorker, { token, params: { workerId: worker.id } })
    assert.equal((await drain()).body.state, 'draining')
    assert.equal((await drain()).status, 200)
    assert.equal(await state(), 'draining')
    await hive.call(contract.revokeWorker, { token, params: { workerId: worker.id } })
    assert.equal(await state(), undefined)
    const audit = await hive.ctx.db.kysely.selectFrom('auditEvents').select('action').execute()
    for (const action of ['worker.enrolled', 'worker.draining', 'worker.revoked'])
      assert.equal(audit.filter((row) => row.action === action).length, 1, action)
  })

  test('the poll of a worker that is revoked ends at once, at whichever replica it waits, and is refused', async () => {
    await using hive = await open()
    const { token } = await hive.admin()
    const [here, there] = [await hive.worker(), await hive.worker()]
    const replica = { ...hive.ctx, bus: createBus() }
    await hearIdentityNews(replica)
    const dispatcher = createDispatcher(replica)
    const never = new AbortController().signal
    const waiting = [hive.ctx.bus, replica.bus].map((bus) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const { subscribe } = bus
      bus.subscribe = (topic, listener) => {
        if (topic === 'identity') resolve()
        return subscribe(topic, listener)
      }
      return promise
    })
    const isolation = { level: 'full' as const, layers: [], reason: null }
    const report = { version: '1', labels: [], kinds: ['compute' as const], slots: 1, isolation }
    const body = { report, freeSlots: 1, waitSeconds: 20 }
    const [call, actor] = [
      here.call(protocol.claimJobs, { body }),
      { ...system, kind: 'worker' as const, id: there.id },
    ]
    const poll = assert.rejects(claimJobs(replica, dispatcher, actor, body, never), { code: 'worker_revoked' })
    await Promise.all(waiting)
    for (const { id } of [here, there]) {
      const reply = await hive.call(contract.revokeWorker, { token, params: { workerId: id } })
      assert.equal(reply.status, 204)
    }
    assert.equal((await call).problem.code, 'worker_revoked')
    await hearIdentityNews(replica)
    await poll
    dispatcher.close()
  })

  test('what a worker says of itself cannot break its own reports', async () => {
    await using hive = await open()
    const worker = await hive.worker()
    const report: WorkerReport = {
      ...{ version: '1\0', labels: ['b', 'a'], kinds: ['compute'], slots: 1 },
      isolation: { level: 'none', layers: ['\0'], reason: 'no\0thing' },
    }
    const reply = await worker.call(protocol.claimJobs, { body: { report, freeSlots: 1, waitSeconds: 0 } })
    assert.equal(reply.status, 200)
    const { token } = await hive.admin()
    const [row] = (await hive.call(contract.listWorkers, { token })).body.items
    assert.equal(row?.isolation?.reason, 'no\0thing')
  })

  test('nonces that cannot be replayed any more are pruned', async () => {
    await using hive = await open()
    const worker = await hive.worker()
    await worker.claim()
    const count = async () => (await hive.ctx.db.kysely.selectFrom('workerNonces').select('nonce').execute()).length
    const kept = await count()
    await prune(hive.ctx)
    assert.equal(await count(), kept)
    hive.clock.advance(601_000)
    await prune(hive.ctx)
    assert.equal(await count(), 0)
  })
})
