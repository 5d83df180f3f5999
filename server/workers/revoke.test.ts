import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as contract from '@hivesync/contracts/workers.ts'
import { claim, enrolFleetWorker } from '../../test/harness/fleet-worker.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { submitted } from '../../test/harness/jobs.ts'
import { ephemeralKeyLifeMs } from './key-life.ts'
import { retireAfterMs, retireSilent } from './revoke.ts'

const minuteMs = 60_000

async function newToken(hive: Hive, ephemeral: boolean): Promise<string> {
  const { token } = await hive.admin()
  const body = { maxUses: 10, ephemeral, ttlSeconds: 30 * 86_400 }
  return (await hive.call(contract.createEnrolment, { token, body })).body.enrolmentToken
}

/** The server watching for a time, as its background task does. */
async function watch(hive: Hive, minutes: number): Promise<number> {
  let retired = await retireSilent(hive.ctx)
  for (let minute = 0; minute < minutes; minute++) {
    hive.clock.advance(minuteMs)
    retired += await retireSilent(hive.ctx)
  }
  return retired
}

const liveIds = async (hive: Hive) =>
  (
    await hive.ctx.db.kysely.selectFrom('workers').select('id').where('revokedAt', 'is', null).orderBy('id').execute()
  ).map(({ id }) => id)

const actsOn = async (hive: Hive, workerId: string) =>
  (
    await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['action', 'actorKind', 'actorId'])
      .where('targetId', '=', workerId)
      .orderBy('id')
      .execute()
  ).map(({ action, actorKind, actorId }) => `${action} ${actorKind} ${actorId === workerId}`)

describeHive('a worker that goes', (open) => {
  test('signs off itself and no other: what it holds goes back, and nothing it signs is accepted any more', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const token = await newToken(hive, true)
    const [leaving, staying] = [await enrolFleetWorker(hive, token), await enrolFleetWorker(hive, token)]
    const job = await submitted(hive, ada, projectId)
    assert.equal((await claim(leaving)).jobs[0]?.jobId, job.id)
    const named = await leaving.send(`${contract.signOff.path}?workerId=${staying.workerId}`)
    assert.equal(named.refused, 'invalid_request', 'another cannot even be named')
    assert.equal((await leaving.send(contract.signOff.path, { workerId: staying.workerId })).refused, 'invalid_request')
    assert.equal((await leaving.send(contract.signOff.path)).refused, undefined)
    for (const path of [contract.signOff.path, protocol.heartbeat.path])
      assert.equal(
        (await leaving.send(path, path === contract.signOff.path ? undefined : { leases: [] })).refused,
        'worker_revoked',
      )
    assert.deepEqual(await liveIds(hive), [staying.workerId])
    assert.equal((await claim(staying)).jobs[0]?.jobId, job.id)
    const [row] = (await hive.call(contract.listWorkers, { token: ada.token })).body.items
    assert.deepEqual([row?.id, row?.ephemeral], [staying.workerId, true])
    assert.deepEqual(await actsOn(hive, leaving.workerId), [
      'worker.enrolled worker true',
      'worker.signed_off worker true',
    ])
    const attempts = await hive.call(jobs.listAttempts, { token: ada.token, params: { jobId: job.id } })
    assert.equal(attempts.body.items.length, 2, 'history keeps what it did')
  })

  test('without a word is retired after 15 minutes if it is ephemeral, also when it never spoke at all', async () => {
    await using hive = await open()
    const [passing, lasting] = [await newToken(hive, true), await newToken(hive, false)]
    const silent = await enrolFleetWorker(hive, passing)
    const killed = await enrolFleetWorker(hive, passing)
    const alive = await enrolFleetWorker(hive, passing)
    const stays = await enrolFleetWorker(hive, lasting)
    await claim(silent)
    await retireSilent(hive.ctx)
    assert.equal(await watch(hive, retireAfterMs / minuteMs), 0)
    await alive.send(protocol.heartbeat.path, { leases: [] })
    assert.equal(await watch(hive, 1), 2)
    assert.deepEqual(await liveIds(hive), [alive.workerId, stays.workerId].sort())
    for (const { workerId } of [silent, killed])
      assert.equal((await actsOn(hive, workerId)).at(-1), 'worker.retired system false')
    assert.equal((await claim(silent)).refused, 'worker_revoked')
    const names = await hive.ctx.db.kysely
      .selectFrom('workers')
      .select('name')
      .where('id', '=', killed.workerId)
      .execute()
    assert.deepEqual(names, [{ name: 'pod' }])
  })

  test('is not called silent by a server that was away itself, until that has watched for as long', async () => {
    await using hive = await open()
    const token = await newToken(hive, true)
    const worker = await enrolFleetWorker(hive, token)
    await watch(hive, 20)
    assert.deepEqual(await liveIds(hive), [])
    const next = await enrolFleetWorker(hive, token)
    assert.notEqual(next.workerId, worker.workerId)
    // As a machine that slept: the clock has moved, and nobody looked.
    hive.clock.advance(60 * minuteMs)
    assert.equal(await watch(hive, retireAfterMs / minuteMs - 1), 0)
    assert.deepEqual(await liveIds(hive), [next.workerId])
    assert.equal(await watch(hive, 2), 1)
  })

  test('has a key for a day, that is due to be replaced after two thirds of it', async () => {
    await using hive = await open()
    const worker = await enrolFleetWorker(hive, await newToken(hive, true))
    assert.equal((await claim(worker)).rotateKey, undefined)
    hive.clock.advance((ephemeralKeyLifeMs * 2) / 3 + 1000)
    assert.equal((await claim(worker)).rotateKey, true)
    hive.clock.advance(ephemeralKeyLifeMs / 3)
    assert.equal((await claim(worker)).refused, 'worker_key_expired')
  })
})
