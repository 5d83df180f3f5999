import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import * as contract from '@hivesync/contracts/workers.ts'
import { proveKeyRotation } from '@hivesync/protocol/key-rotation.ts'
import { type EncodedKeyPair, generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { keyLifeMs, overlapMs, requestedLifeMs } from './key-life.ts'

interface Drone {
  id: string
  pair: EncodedKeyPair
}

async function enrol(hive: Hive): Promise<Drone> {
  const { token } = await hive.admin()
  const { enrolmentToken } = (await hive.call(contract.createEnrolment, { token, body: {} })).body
  const pair = generateEncodedKeyPair()
  const body = { enrolmentToken, name: 'drone', publicKey: pair.publicKey }
  return { id: (await hive.call(protocol.enrolWorker, { body })).body.workerId, pair }
}

function signed(hive: Hive, { id, pair }: Drone, target: string, body: unknown) {
  const payload = JSON.stringify(body)
  const headers = signRequest({
    ...{ method: 'POST', target, body: Buffer.from(payload), keyId: id, key: importPrivateKey(pair) },
    createdSeconds: Math.floor(hive.clock.now() / 1000),
    nonce: hive.ctx.random.token(16),
  })
  return { method: 'POST' as const, url: target, payload, headers: { 'content-type': 'application/json', ...headers } }
}

type Signed = ReturnType<typeof signed>

async function send(hive: Hive, request: Signed): Promise<string> {
  const reply = await hive.inject(request)
  return reply.statusCode === 200 ? 'ok' : `${reply.statusCode} ${reply.json().code}`
}

const beat = (hive: Hive, drone: Drone) => send(hive, signed(hive, drone, protocol.heartbeat.path, { leases: [] }))

/** The request that changes a drone's key to `next`, as the worker makes it. */
function change(hive: Hive, drone: Drone, next: EncodedKeyPair, proved: { id?: string; from?: string } = {}): Signed {
  const rotation = {
    workerId: proved.id ?? drone.id,
    presentKey: proved.from ?? drone.pair.publicKey,
    newKey: next.publicKey,
  }
  const proof = proveKeyRotation(rotation, importPrivateKey(next))
  return signed(hive, drone, protocol.rotateKey.path, { publicKey: next.publicKey, proof })
}

const acts = async (hive: Hive) =>
  (
    await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['outcome', 'targetId', 'actorId'])
      .where('action', '=', 'worker.key_rotated')
      .orderBy('id')
      .execute()
  ).map(({ outcome, targetId, actorId }) => `${outcome} ${targetId === actorId}`)

describeHive('the change of a worker’s key', (open) => {
  test('the old key works on until the new one is first used', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    const next = { id: drone.id, pair: generateEncodedKeyPair() }
    assert.equal(await beat(hive, next), '401 signature_invalid')
    assert.equal(await send(hive, change(hive, drone, next.pair)), 'ok')
    assert.equal(await beat(hive, drone), 'ok')
    assert.equal(await beat(hive, next), 'ok')
    assert.equal(await beat(hive, drone), '401 signature_invalid')
    assert.equal(await beat(hive, next), 'ok')
    assert.deepEqual(await acts(hive), ['succeeded true'])
  })

  test('a new key that is never used ends the old one after ten minutes all the same', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    assert.equal(await send(hive, change(hive, drone, generateEncodedKeyPair())), 'ok')
    hive.clock.advance(overlapMs - 1)
    assert.equal(await beat(hive, drone), 'ok')
    hive.clock.advance(1)
    assert.equal(await beat(hive, drone), '401 signature_invalid')
  })

  test('the same change asked for again, as after a lost answer, is answered alike', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    const next = generateEncodedKeyPair()
    const [first, again] = [
      await hive.inject(change(hive, drone, next)),
      await hive.inject(change(hive, drone, next)),
    ].map((reply) => reply.json())
    assert.deepEqual(again, first)
    assert.equal(first.keyExpiresAt, new Date(hive.clock.now() + keyLifeMs).toISOString())
    assert.deepEqual(await acts(hive), ['succeeded true'])
  })

  test('a recorded change is refused as a replay, and a key that was replaced names no successor', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    const next = generateEncodedKeyPair()
    const recorded = change(hive, drone, next)
    assert.equal(await send(hive, recorded), 'ok')
    assert.equal(await send(hive, recorded), '401 signature_replayed')
    // A thief of the old key, who has found out what the present one is.
    const theft = change(hive, drone, generateEncodedKeyPair(), { from: next.publicKey })
    assert.equal(await send(hive, theft), '409 worker_key_refused')
    assert.deepEqual(await acts(hive), ['succeeded true', 'refused true'])
  })

  test('of many changes at once one is made', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    const nexts = Array.from({ length: 8 }, () => generateEncodedKeyPair())
    const replies = await Promise.all(nexts.map((next) => send(hive, change(hive, drone, next))))
    assert.equal(replies.filter((reply) => reply === 'ok').length, 1, String(replies))
    const winner = nexts[replies.indexOf('ok')]
    assert.ok(winner)
    assert.equal(await beat(hive, { id: drone.id, pair: winner }), 'ok')
  })

  test('the same key, another worker’s, a former one and a proof for something else are refused and audited', async () => {
    await using hive = await open()
    const [drone, other] = [await enrol(hive), await enrol(hive)]
    const next = generateEncodedKeyPair()
    const before = other.pair
    assert.equal(await send(hive, change(hive, drone, drone.pair)), '409 worker_key_refused')
    assert.equal(await send(hive, change(hive, drone, other.pair)), '409 worker_key_refused')
    assert.equal(await send(hive, change(hive, other, generateEncodedKeyPair())), 'ok')
    assert.equal(await send(hive, change(hive, drone, before)), '409 worker_key_refused')
    assert.equal(await send(hive, change(hive, drone, next, { id: other.id })), '409 worker_key_refused')
    assert.equal(await send(hive, change(hive, drone, next, { from: next.publicKey })), '409 worker_key_refused')
    const notMine = change(hive, { id: drone.id, pair: generateEncodedKeyPair() }, next)
    assert.equal(await send(hive, notMine), '401 signature_invalid')
    assert.deepEqual((await acts(hive)).filter((act) => act === 'refused true').length, 5)
    assert.equal(await beat(hive, drone), 'ok')
  })

  test('keys of small order and texts that are no key are refused', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    for (const publicKey of ['A'.repeat(43), `AQ${'A'.repeat(41)}`, `${drone.pair.publicKey.slice(0, -1)}_`]) {
      const body = { publicKey, proof: 'A'.repeat(86) }
      const reply = await send(hive, signed(hive, drone, protocol.rotateKey.path, body))
      assert.match(reply, /^400 invalid_request/, publicKey)
    }
  })

  test('a revoked worker changes no key', async () => {
    await using hive = await open()
    const { token } = await hive.admin()
    const drone = await enrol(hive)
    await hive.call(contract.revokeWorker, { token, params: { workerId: drone.id } })
    assert.equal(await send(hive, change(hive, drone, generateEncodedKeyPair())), '401 worker_revoked')
  })
})

describeHive('the life of a worker’s key', (open) => {
  const report: WorkerReport = {
    ...{ version: '1', labels: [], kinds: ['compute'], slots: 1 },
    isolation: { level: 'full', layers: [], reason: null },
  }
  const isDue = async (hive: Hive, drone: Drone): Promise<boolean> => {
    const body = { report, freeSlots: 1, waitSeconds: 0 }
    const reply = await hive.inject(signed(hive, drone, protocol.claimJobs.path, body))
    assert.equal(reply.statusCode, 200, reply.body)
    return reply.json().rotateKey === true
  }

  test('a key is good for ninety days; after sixty the worker is told to change it, and an expired one is refused by name', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    assert.equal(await isDue(hive, drone), false)
    hive.clock.advance((keyLifeMs / 3) * 2 + 1)
    assert.equal(await isDue(hive, drone), true)
    hive.clock.advance(keyLifeMs / 3 - 2)
    assert.equal(await beat(hive, drone), 'ok')
    hive.clock.advance(1)
    assert.equal(await beat(hive, drone), '401 worker_key_expired')
    assert.equal(await send(hive, change(hive, drone, generateEncodedKeyPair())), '401 worker_key_expired')
    const stranger = { id: drone.id, pair: generateEncodedKeyPair() }
    assert.equal(await beat(hive, stranger), '401 signature_invalid', 'who does not hold the key learns nothing of it')
  })

  test('the life of a key from before keys expired begins with its next use', async () => {
    await using hive = await open()
    const drone = await enrol(hive)
    const row = hive.ctx.db.kysely.updateTable('workers').where('id', '=', drone.id)
    await row.set({ keyExpiresAt: null }).execute()
    hive.clock.advance(keyLifeMs * 2)
    assert.equal(await beat(hive, drone), 'ok')
    hive.clock.advance(keyLifeMs)
    assert.equal(await beat(hive, drone), '401 worker_key_expired')
  })

  test('an admin has a key changed: the worker is told at once, and a key that stays ends within a week', async () => {
    await using hive = await open()
    const { token } = await hive.admin()
    const drone = await enrol(hive)
    const ask = () => hive.call(contract.requestKeyRotation, { token, params: { workerId: drone.id } })
    const within = new Date(hive.clock.now() + requestedLifeMs).toISOString()
    assert.equal((await ask()).body.keyExpiresAt, within)
    hive.clock.advance(3_600_000)
    const again = await hive.call(contract.requestKeyRotation, {
      token: (await hive.logInAgain('queen')).token,
      params: { workerId: drone.id },
    })
    assert.equal(again.body.keyExpiresAt, within, 'asking again gives no longer')
    assert.equal(await isDue(hive, drone), true)
    const next = { id: drone.id, pair: generateEncodedKeyPair() }
    assert.equal(await send(hive, change(hive, drone, next.pair)), 'ok')
    assert.equal(await isDue(hive, next), false)
  })

  test('only admins ask for it', async () => {
    await using hive = await open()
    const [ada, drone] = [await hive.person('ada'), await enrol(hive)]
    const reply = await hive.call(contract.requestKeyRotation, { token: ada.token, params: { workerId: drone.id } })
    assert.equal(reply.status, 403)
  })
})
