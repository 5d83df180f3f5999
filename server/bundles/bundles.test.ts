import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import * as contract from '@hivesync/contracts/bundles.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as privacy from '@hivesync/contracts/privacy.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { hostileArchives, tarOf } from '@hivesync/protocol/test-tar.ts'
import { bundleUp, countedBytes, leave, sha256Of, storedKeys } from '../../test/harness/files.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, take } from '../../test/harness/jobs.ts'
import { sweepBundles } from './bundles.ts'

const archive = tarOf({ name: 'src/', type: '5', mode: 0o755 }, { name: 'src/main.js', content: 'console.log(1)\n' })
const weekMs = 7 * 86_400_000

describeHive('bundles', (open) => {
  const submitWith = (hive: Hive, { token }: Pick<Person, 'token'>, projectId: string, bundle: string) =>
    hive.call(jobs.submitJob, {
      token,
      params: { projectId },
      body: { kind: 'compute', input: { command: ['true'], bundle }, ttlSeconds: 20 * 86_400 },
    })

  test('are kept with size, digest and count, and listed for the project alone', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const packed = gzipSync(archive)
    const made = await bundleUp(hive, ada, projectId, packed)
    assert.equal(made.status, 201)
    const { bytes, sha256, entries, unpackedBytes } = made.body
    assert.deepEqual(
      { bytes, sha256, entries, unpackedBytes },
      { bytes: packed.length, sha256: sha256Of(packed), entries: 2, unpackedBytes: archive.length },
    )
    assert.equal((await bundleUp(hive, ada, projectId, archive)).status, 201)
    assert.equal(await countedBytes(hive, ada), packed.length + archive.length)
    const listed = await hive.call(contract.listBundles, { token: ada.token, params: { projectId } })
    assert.equal(listed.body.items.length, 2)
    const eve = await hive.person('eve')
    const params = { projectId }
    assert.equal(
      (await hive.call(contract.listBundles, { token: eve.token, params })).problem.code,
      'project_not_found',
    )
    assert.equal((await bundleUp(hive, eve, projectId, archive)).problem.code, 'project_not_found')
  })

  test('that are hostile are refused with the reason and leave nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (const [what, hostile] of Object.entries(hostileArchives)) {
      const { status, problem } = await bundleUp(hive, ada, projectId, hostile)
      assert.equal(`${status} ${problem.code}`, '400 bundle_refused', what)
      assert.match(problem.detail ?? '', /^The archive is refused: [\x20-\x7e]+$/, what)
    }
    assert.deepEqual(await storedKeys(hive), [])
    assert.equal((await hive.ctx.db.kysely.selectFrom('bundles').select('id').execute()).length, 0)
  })

  test('larger than the plan takes, or than its storage has room for, are refused', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { token } = ada
    const url = `/api/v1/projects/${projectId}/bundles`
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' }
    const announced = await hive.inject({
      method: 'POST',
      url,
      headers: { ...headers, 'content-length': '50000001' },
      payload: archive,
    })
    assert.equal(announced.json().code, 'payload_too_large')
    const huge = tarOf({ name: 'huge', content: Buffer.alloc(50_000_000, 1) })
    const inChunks = { ...headers, 'transfer-encoding': 'chunked' }
    const chunked = await hive.inject({ method: 'POST', url, headers: inChunks, payload: Readable.from([huge]) })
    assert.equal(chunked.json().code, 'payload_too_large')
    assert.deepEqual(await storedKeys(hive), [])
    await bundleUp(hive, ada, projectId, archive)
    await hive.ctx.db.kysely
      .updateTable('teamStorage')
      .set({ bytes: 1e9 - archive.length })
      .execute()
    const replies = await Promise.all([1, 2, 3].map(() => bundleUp(hive, ada, projectId, archive)))
    assert.deepEqual(replies.map((reply) => (reply.status === 201 ? 'ok' : reply.problem.code)).sort(), [
      'ok',
      'storage_full',
      'storage_full',
    ])
    assert.equal((await storedKeys(hive)).length, 2)
  })

  test('come as bytes and as nothing else', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const url = `/api/v1/projects/${projectId}/bundles`
    for (const type of ['application/json', 'text/plain', 'application/octet-streams', 'application/x-tar']) {
      const headers = { authorization: `Bearer ${ada.token}`, 'content-type': type }
      const reply = await hive.inject({ method: 'POST', url, headers, payload: archive })
      assert.equal(reply.json().code, 'unsupported_media_type', type)
    }
    const json = { authorization: `Bearer ${ada.token}`, 'content-type': 'application/octet-stream' }
    const misplaced = await hive.inject({ method: 'POST', url: '/api/v1/projects', headers: json, payload: '{}' })
    assert.equal(misplaced.json().code, 'unsupported_media_type')
  })

  test('come to nothing when the session was ended while they arrived', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { token, sessionId } = await hive.logInAgain('ada')
    const payload = Readable.from(
      (async function* () {
        yield archive.subarray(0, 600)
        await hive.call(sessions.revokeSession, { token: ada.token, params: { sessionId } })
        yield archive.subarray(600)
      })(),
    )
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/octet-stream',
      'transfer-encoding': 'chunked',
    }
    const reply = await hive.inject({ method: 'POST', url: `/api/v1/projects/${projectId}/bundles`, headers, payload })
    assert.equal(reply.json().code, 'session_revoked')
    assert.deepEqual(await storedKeys(hive), [])
  })

  test('belong to their project: a job elsewhere cannot name them', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bundle = (await bundleUp(hive, ada, projectId, archive)).body
    const elsewhere = await submitWith(hive, ada, await hive.project(ada, 'other'), bundle.id)
    assert.deepEqual(elsewhere.problem.fields, [{ path: 'body/input/bundle', message: 'is no bundle of this project' }])
    const eve = await hive.person('eve')
    assert.equal((await submitWith(hive, eve, await hive.project(eve), bundle.id)).status, 400)
    assert.equal((await submitWith(hive, ada, projectId, bundle.id)).status, 201)
  })

  test('live until the job that names them has ended, and are fetched under its lease alone', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bundle = (await bundleUp(hive, ada, projectId, archive)).body
    await submitWith(hive, ada, projectId, bundle.id)
    const params = { bundleId: bundle.id }
    assert.equal((await hive.call(contract.deleteBundle, { token: ada.token, params })).problem.code, 'bundle_in_use')
    const [worker, other] = [await hive.worker(), await hive.worker()]
    hive.clock.advance(2 * weekMs)
    await sweepBundles(hive.ctx)
    const claim = await take(worker)
    const lease = { params: { token: String(claim.token) } }
    const fetched = await worker.call(contract.fetchBundle, lease)
    assert.equal(fetched.status, 200)
    assert.equal(fetched.headers['content-length'], String(archive.length))
    assert.equal((await other.call(contract.fetchBundle, lease)).problem.code, 'lease_lost')
    await complete(worker, claim)
    assert.equal((await worker.call(contract.fetchBundle, lease)).problem.code, 'lease_lost')
    hive.clock.advance(30 * 86_400_000)
    assert.equal(await sweepBundles(hive.ctx), 1)
    assert.deepEqual(await storedKeys(hive), [])
    assert.equal(await countedBytes(hive, ada), 0)
  })

  test('are deleted with what they count', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const bundle = (await bundleUp(hive, ada, await hive.project(ada), archive)).body
    const params = { bundleId: bundle.id }
    const eve = await hive.person('eve')
    assert.equal(
      (await hive.call(contract.deleteBundle, { token: eve.token, params })).problem.code,
      'bundle_not_found',
    )
    assert.equal((await hive.call(contract.deleteBundle, { token: ada.token, params })).status, 204)
    assert.equal(
      (await hive.call(contract.deleteBundle, { token: ada.token, params })).problem.code,
      'bundle_not_found',
    )
    assert.equal(await countedBytes(hive, ada), 0)
    assert.deepEqual(await storedKeys(hive), [])
  })

  test('and artifacts go with the account that is erased', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bundle = (await bundleUp(hive, ada, projectId, archive)).body
    await submitWith(hive, ada, projectId, bundle.id)
    const worker = await hive.worker()
    const claim = await take(worker)
    await leave(worker, claim, { out: archive })
    assert.equal((await storedKeys(hive)).length, 2)
    const proof = await hive.stepUp(ada, privacy.eraseMe, {})
    assert.equal((await hive.call(privacy.eraseMe, { token: ada.token, headers: proof })).status, 204)
    assert.deepEqual(await storedKeys(hive), [])
    for (const table of ['bundles', 'artifacts', 'teamStorage'] as const)
      assert.deepEqual(await hive.ctx.db.kysely.selectFrom(table).select('teamId').execute(), [])
  })
})
