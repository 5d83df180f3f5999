import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import { listJobs } from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/scaling.ts'
import { drainWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, start, submitted, take } from '../../test/harness/jobs.ts'
import { sampleEveryMs, sampleLoad } from './scaling.ts'

const load = async (hive: Hive, { token }: { token: string }, pool?: string) =>
  (await hive.call(contract.getQueueLoad, { token, ...(pool === undefined ? {} : { query: { pool } }) })).body

async function look(hive: Hive, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) {
    await sampleLoad(hive.ctx)
    hive.clock.advance(sampleEveryMs)
  }
}

async function keyOf(hive: Hive, { token }: Person) {
  return hive.call(keys.createApiKey, { token, body: { name: 'prometheus', scopes: ['metrics'] } })
}

describeHive('the load of a pool', (open) => {
  test('where nothing happens is nothing, with every number there', async () => {
    await using hive = await open()
    assert.deepEqual(await load(hive, await hive.admin()), {
      ...{ pool: 'default', queued: 0, running: 0, oldestQueuedSeconds: 0, estimatedLoad: 0, desiredSlots: 0 },
      ...{ needsScaleOut: false, needsScaleIn: false, drainable: [], slots: 0, freeSlots: 0, drainingSlots: 0 },
      unplaceable: 0,
    })
  })

  test('counts of a team only the jobs that it may still run: more workers would not help the rest', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (let i = 0; i < 5; i++) await submitted(hive, ada, projectId)
    hive.clock.advance(20_000)
    const { queued, estimatedLoad, desiredSlots, oldestQueuedSeconds } = await load(hive, await hive.admin())
    // A free team runs two; a kind that never ran is taken for half a slot.
    assert.deepEqual([queued, estimatedLoad, desiredSlots, oldestQueuedSeconds], [5, 1, 1, 20])
  })

  test('does not count what no worker of the pool could take, but says it; an empty pool is one that is yet to be filled', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    const projectId = await hive.project(ada)
    await submitted(hive, ada, projectId)
    await submitted(hive, ada, projectId, { labels: ['gpu'] })
    const before = await load(hive, admin)
    assert.deepEqual([before.estimatedLoad, before.unplaceable], [0.5, 1])
    const worker = await hive.worker()
    await complete(worker, await take(worker))
    const after = await load(hive, admin)
    assert.deepEqual([after.estimatedLoad, after.unplaceable, after.slots, after.freeSlots], [0, 1, 4, 4])
  })

  test('knows how long a kind takes, and what its workers do', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    await submitted(hive, ada, projectId)
    const first = await take(worker)
    await start(worker, first)
    hive.clock.advance(6000)
    const running = await load(hive, admin)
    assert.deepEqual([running.running, running.slots, running.freeSlots], [1, 4, 3])
    await complete(worker, first)
    await submitted(hive, ada, projectId)
    assert.equal((await load(hive, admin)).estimatedLoad, 0.1)
  })

  test('asks for more after two looks, also from none', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    await submitted(hive, ada, await hive.project(ada))
    assert.equal((await load(hive, admin)).needsScaleOut, false)
    await look(hive)
    assert.equal((await load(hive, admin)).needsScaleOut, true)
  })

  test('names idle workers after ten calm minutes, never one that runs a job', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    const projectId = await hive.project(ada)
    const [busy, idle] = [await hive.worker(), await hive.worker()]
    await submitted(hive, ada, projectId)
    const held = await take(busy)
    await start(busy, held)
    for (let i = 0; i < 122; i++) {
      if (i % 10 === 0) await Promise.all([busy.claim(1), idle.claim(1)])
      await look(hive)
    }
    const calm = await load(hive, admin)
    assert.deepEqual([calm.needsScaleIn, calm.drainable], [true, [idle.id]])
    await hive.call(drainWorker, { token: admin.token, params: { workerId: idle.id } })
    const draining = await load(hive, admin)
    assert.deepEqual([draining.needsScaleIn, draining.slots, draining.drainingSlots], [false, 4, 4])
  })

  test('is for admins and their keys with the scope metrics, which open nothing else', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    const projectId = await hive.project(admin)
    for (const operation of [contract.getQueueLoad, contract.getMetrics])
      assert.equal((await hive.call(operation, { token: ada.token })).status, 403)
    assert.equal((await keyOf(hive, ada)).problem.code, 'permission_denied')
    const token = (await keyOf(hive, admin)).body.apiKey
    assert.equal((await load(hive, { token })).queued, 0)
    assert.equal((await hive.call(listJobs, { token, params: { projectId } })).status, 403)
    // The scope lives no longer than its owner's role.
    await hive.ctx.db.kysely.updateTable('users').set({ adminSince: null }).where('id', '=', admin.userId).execute()
    hive.ctx.bus.publish('identity')
    assert.equal((await hive.call(contract.getQueueLoad, { token })).status, 403)
  })

  test('is there for Prometheus, of every pool in use', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    await submitted(hive, ada, await hive.project(ada))
    const headers = { authorization: `Bearer ${admin.token}` }
    const reply = await hive.inject({ url: '/metrics', headers })
    assert.match(String(reply.headers['content-type']), /^text\/plain; version=0\.0\.4/)
    assert.match(reply.body, /^hivesync_jobs_queued\{pool="default"\} 1$/m)
    assert.match(reply.body, /^hivesync_needs_scale_out\{pool="default"\} 0$/m)
    assert.match(reply.body, /^process_resident_memory_bytes \d+$/m)
  })
})
