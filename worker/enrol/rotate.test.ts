import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { systemClock } from '../clock.ts'
import { createTransport } from '../report/http-transport.ts'
import { createServerClient } from '../report/server-client.ts'
import { createServerTime } from '../report/server-time.ts'
import { testId } from '../test-support/contract-request.ts'
import { makeTestFolder, openEnrolled } from '../test-support/enrolled-client.ts'
import { verifiedReceipt } from '../test-support/file-peer.ts'
import { findIdentity, type Identity, identityFolder, makeDataFolder, storeIdentity } from './identity.ts'
import { keepKeysFresh } from './keep-keys-fresh.ts'
import { systemRandom } from './random.ts'
import { createKeyRing, requestRotation, rotateKeys } from './rotate.ts'

/** A worker with its identity on disk; `start` makes what one process of it has. */
async function open(t: TestContext) {
  const { server, log } = await openEnrolled(t)
  const dataDir = join(await makeTestFolder(t), 'worker')
  await makeDataFolder(dataDir)
  const keys = generateEncodedKeyPair()
  const identity: Identity = { server: server.origin, workerId: testId(950), name: 'edge', keys }
  server.workers.set(identity.workerId, { publicKey: keys.publicKey, name: 'edge' })
  await storeIdentity(dataDir, identity)
  const transport = createTransport({ origin: server.origin, clock: systemClock })
  t.after(() => transport.close())
  const stored = async (): Promise<Identity> => {
    const found = await findIdentity(dataDir, server.origin)
    assert.ok(found)
    return found
  }
  const start = async () => {
    const found = await stored()
    const ring = createKeyRing(found)
    const parts = { transport, identity: ring, clock: systemClock, random: systemRandom, onCutOff: () => {} }
    const client = createServerClient({ ...parts, time: createServerTime({ clock: systemClock, log }) })
    return { dataDir, identity: found, ring, client, log, onPending: () => {} }
  }
  const knownKey = () => server.workers.get(identity.workerId)?.publicKey
  return { server, dataDir, identity, stored, start, knownKey }
}

const random = { nonce: systemRandom.nonce, fraction: () => 0 }
const never = new AbortController().signal
const fresh = { clock: systemClock, random, signal: never }

test('a new key is on disk before the server hears of it, and alone there once it is taken', async (t) => {
  const { server, dataDir, identity, stored, start, knownKey } = await open(t)
  let before: Promise<string> | undefined
  server.intercept = (operation) => {
    if (operation === 'rotateKey') before = readFile(join(identityFolder(dataDir), 'identity.json'), 'utf8')
    return undefined
  }
  const worker = await start()
  await rotateKeys(worker)
  const after = await stored()
  assert.equal(JSON.parse((await before) ?? '{}').nextKeys.publicKey, after.keys.publicKey)
  assert.notEqual(after.keys.publicKey, identity.keys.publicKey)
  assert.deepEqual([after.nextKeys, knownKey()], [undefined, after.keys.publicKey])
  await worker.client.heartbeat({ leases: [] })
  assert.ok(!JSON.stringify(server.requests).includes(after.keys.privateKey), 'the private key never leaves the worker')
})

test('a lost answer, and a crash before it, lock nobody out: the next start finds out which key is known', async (t) => {
  const { server, identity, stored, start, knownKey } = await open(t)
  // The server takes the key, and its answer never arrives.
  server.intercept = (operation, seen) => {
    if (operation !== 'rotateKey') return undefined
    const worker = server.workers.get(identity.workerId)
    if (worker !== undefined) worker.publicKey = String(seen.body.publicKey)
    return 'hang up'
  }
  await assert.rejects(rotateKeys(await start()))
  server.intercept = undefined
  const pending = await stored()
  assert.deepEqual([pending.keys.publicKey, pending.nextKeys?.publicKey], [identity.keys.publicKey, knownKey()])
  const worker = await start()
  await keepKeysFresh({ ...worker, ...fresh })
  const after = await stored()
  assert.deepEqual([after.keys.publicKey, after.nextKeys], [knownKey(), undefined])
  await worker.client.heartbeat({ leases: [] })
})

test('a request that never reached the server is made again with the same key', async (t) => {
  const { server, stored, start, knownKey } = await open(t)
  server.intercept = () => 'hang up'
  await assert.rejects(rotateKeys(await start()))
  const { nextKeys } = await stored()
  server.intercept = undefined
  await keepKeysFresh({ ...(await start()), ...fresh })
  assert.ok(nextKeys)
  assert.deepEqual([(await stored()).keys, knownKey()], [nextKeys, nextKeys.publicKey])
})

test('a key that the server refuses is forgotten, and the present one stays', async (t) => {
  const { server, identity, stored, start } = await open(t)
  server.intercept = (operation) =>
    operation === 'rotateKey' ? { status: 409, body: { code: 'worker_key_refused' } } : undefined
  const worker = await start()
  await rotateKeys(worker)
  assert.deepEqual(await stored(), identity)
  await worker.client.heartbeat({ leases: [] })
})

test('a change asked for on the machine is made once', async (t) => {
  const { dataDir, identity, stored, start, server } = await open(t)
  const keys = await keepKeysFresh({ ...(await start()), ...fresh })
  await keys.changeIfRequested()
  assert.deepEqual((await stored()).keys, identity.keys)
  await requestRotation(dataDir)
  await keys.changeIfRequested()
  await keys.changeIfRequested()
  assert.notDeepEqual((await stored()).keys, identity.keys)
  assert.equal(server.requests.filter(({ operation }) => operation === 'rotateKey').length, 1)
})

test('a completion that the change of the key overtakes is sent again with its receipt signed by the new key', async (t) => {
  const { server, start } = await open(t)
  const { client, ring, identity } = await start()
  const lease = server.submit('compute', {})
  const { token, jobId, attempt, kind } = lease.claim
  const next = generateEncodedKeyPair()
  server.intercept = (operation) => {
    if (operation !== 'completeLease' || ring.keys === next) return undefined
    server.workers.set(identity.workerId, { publicKey: next.publicKey, name: 'edge' })
    ring.use(next)
    return undefined
  }
  const run = { layers: [], limits: {}, usage: {}, exitCode: 0, killed: null }
  const receipt = { version: 1, jobId, token, attempt, kind, finishedAt: '2030-01-02T03:04:05.678Z', ...run }
  await client.completeLease(token, { outcome: 'succeeded', receipt })
  assert.equal(server.requests.filter(({ operation }) => operation === 'completeLease').length, 2)
  assert.equal(verifiedReceipt(server, lease).jobId, jobId)
})
