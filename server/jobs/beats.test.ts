import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cancelJob } from '@hivesync/contracts/jobs.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { drainWorker, revokeWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type TestWorker } from '../../test/harness/hive.ts'
import { submitted, take } from '../../test/harness/jobs.ts'
import { createApp } from '../app.ts'
import { nobody } from '../platform/actor.ts'
import { createBus } from '../platform/bus.ts'
import { createBeats } from './beats.ts'

async function running(hive: Hive) {
  const ada = await hive.person('ada')
  const job = await submitted(hive, ada, await hive.project(ada))
  const worker = await hive.worker()
  return { ada, job, worker, claim: await take(worker) }
}

/** Resolves when the worker's next beat waits: an act before that would be told to it at once. Held, it listens for news of its worker. */
function untilHeld({ ctx: { bus } }: Hive, worker: TestWorker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const subscribe = bus.subscribe
  bus.subscribe = (topic, listener) => {
    if (topic === `worker:${worker.id}`) {
      bus.subscribe = subscribe
      resolve()
    }
    return subscribe(topic, listener)
  }
  return promise
}

const held = (worker: TestWorker, claim: { token: number }, waitSeconds = 20) =>
  worker.call(protocol.heartbeat, { body: { leases: [claim.token], waitSeconds } })

describeHive('beats that are held open', (open) => {
  test('without news the answer comes when the wait is over, and the next beat follows at once', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const { body } = await held(worker, claim, 1)
    assert.deepEqual(body, { leases: [{ token: claim.token, verdict: 'ok' }], draining: false, nextSeconds: 0 })
  })

  test('a cancel ends the wait, and is no news again', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const isHeld = untilHeld(hive, worker)
    const beat = held(worker, claim)
    await isHeld
    await hive.call(cancelJob, { token: ada.token, params: { jobId: job.id } })
    assert.equal((await beat).body.leases[0]?.verdict, 'cancel')
    const again = (await held(worker, claim, 1)).body
    assert.deepEqual([again.leases[0]?.verdict, again.nextSeconds], ['cancel', 0], 'told, so it was held to its end')
  })

  test('an act at another replica, which says nothing on our bus, ends the wait too', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const replica = createApp({ ...hive.ctx, bus: createBus() })
    const isHeld = untilHeld(hive, worker)
    const beat = held(worker, claim)
    await isHeld
    const headers = { authorization: `Bearer ${ada.token}` }
    const reply = await replica.inject({ method: 'POST', url: `/api/v1/jobs/${job.id}/cancel`, headers })
    assert.equal(reply.statusCode, 200, reply.body)
    const { body } = await beat
    assert.deepEqual([body.leases[0]?.verdict, body.nextSeconds], ['cancel', 0])
    await replica.close()
  })

  test('a worker that is to drain is told at once, one that is revoked is refused', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const { token } = await hive.admin()
    const params = { workerId: worker.id }
    const isHeld = untilHeld(hive, worker)
    const draining = held(worker, claim)
    await isHeld
    await hive.call(drainWorker, { token, params })
    assert.equal((await draining).body.draining, true)
    const isHeldAgain = untilHeld(hive, worker)
    const beat = held(worker, claim)
    await isHeldAgain
    await hive.call(revokeWorker, { token, params })
    const { status, problem } = await beat
    assert.deepEqual([status, problem.code], [401, 'worker_revoked'])
  })

  test('a worker revoked while its beat is on the way is refused, held or not', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const { token } = await hive.admin()
    await hive.call(revokeWorker, { token, params: { workerId: worker.id } })
    const actor = { ...nobody, kind: 'worker' as const, id: worker.id, requestId: null, ip: null }
    for (const waitSeconds of [0, 20])
      await assert.rejects(
        createBeats(hive.ctx).beat(actor, [claim.token], waitSeconds, () => new AbortController().signal),
        { code: 'worker_revoked' },
      )
  })

  test('a newer beat ends the older, a stop ends all of them', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive)
    const isHeld = untilHeld(hive, worker)
    const older = held(worker, claim)
    await isHeld
    const isNewerHeld = untilHeld(hive, worker)
    const newer = held(worker, claim)
    assert.equal((await older).body.leases[0]?.verdict, 'ok')
    await isNewerHeld
    hive.ctx.bus.publish('stopping')
    assert.equal((await newer).body.leases[0]?.verdict, 'ok')
    assert.equal((await held(worker, claim)).body.nextSeconds, 1, 'none is held any more')
  })

  test('one that nobody waits for any more ends and tells nothing', async () => {
    await using hive = await open()
    const { ada, job, worker, claim } = await running(hive)
    const beats = createBeats(hive.ctx)
    const actor = { ...nobody, kind: 'worker' as const, id: worker.id, requestId: null, ip: null }
    const client = new AbortController()
    const beat = beats.beat(actor, [claim.token], 20, () => client.signal)
    client.abort()
    await beat
    await hive.call(cancelJob, { token: ada.token, params: { jobId: job.id } })
    const reply = await beats.beat(actor, [claim.token], 20, () => new AbortController().signal)
    assert.equal(reply.leases[0]?.verdict, 'cancel')
  })
})
