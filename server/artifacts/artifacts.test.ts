import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/artifacts.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { countedBytes, declare, leave, sha256Of, storedKeys, upload } from '../../test/harness/files.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, setTier, submitted, take } from '../../test/harness/jobs.ts'
import { sweepStore } from '../storage/storage.ts'
import { sweepArtifacts } from './artifacts.ts'

const report = Buffer.from('all is well\n')
const image = Buffer.alloc(100_000, 7)

describeHive('artifacts', (open) => {
  /** A job under way on a worker. */
  async function openJob(hive: Hive) {
    const ada = await hive.person('ada')
    const worker = await hive.worker()
    const job = await submitted(hive, ada, await hive.project(ada))
    return { ada, worker, job, claim: await take(worker) }
  }
  const list = (hive: Hive, { token }: Person, jobId: string, query = {}) =>
    hive.call(contract.listArtifacts, { token, params: { jobId }, query })

  test('are there once the completion is accepted, and not before', async () => {
    await using hive = await open()
    const { ada, worker, job, claim } = await openJob(hive)
    await leave(worker, claim, { 'out/report.txt': report, 'image.bin': image, empty: Buffer.alloc(0) })
    assert.deepEqual((await list(hive, ada, job.id)).body.items, [])
    assert.equal((await complete(worker, claim)).status, 200)
    const { items } = (await list(hive, ada, job.id)).body
    assert.deepEqual(
      items.map(({ path, bytes, sha256, attempt }) => ({ path, bytes, sha256, attempt })),
      [
        { path: 'out/report.txt', bytes: report.length, sha256: sha256Of(report), attempt: 1 },
        { path: 'image.bin', bytes: image.length, sha256: sha256Of(image), attempt: 1 },
        { path: 'empty', bytes: 0, sha256: sha256Of(Buffer.alloc(0)), attempt: 1 },
      ],
    )
    const first = (await list(hive, ada, job.id, { limit: '2' })).body
    const rest = (await list(hive, ada, job.id, { limit: '2', cursor: first.nextCursor ?? '' })).body
    assert.deepEqual([...first.items, ...rest.items], items)
  })

  test('are to be seen by who may see the project', async () => {
    await using hive = await open()
    const { worker, job, claim } = await openJob(hive)
    const ids = await leave(worker, claim, { a: report })
    await complete(worker, claim)
    const eve = await hive.person('eve')
    assert.equal((await list(hive, eve, job.id)).problem.code, 'job_not_found')
    const params = { artifactId: ids.get('a') ?? '' }
    assert.equal(
      (await hive.call(contract.createArtifactUrl, { token: eve.token, params })).problem.code,
      'artifact_not_found',
    )
  })

  test('that were not uploaded when the job ended are none, nor those of work given back', async () => {
    await using hive = await open()
    const { ada, worker, job, claim } = await openJob(hive)
    await declare(worker, claim, { never: report })
    await leave(worker, claim, { there: report })
    await complete(worker, claim, { outcome: 'returned' })
    assert.deepEqual((await list(hive, ada, job.id)).body.items, [])
    const again = await take(worker)
    await declare(worker, again, { never: report })
    await leave(worker, again, { there: report })
    await complete(worker, again, { outcome: 'failed', error: { code: 'failed', message: 'It failed.' } })
    const { items } = (await list(hive, ada, job.id)).body
    assert.deepEqual(
      items.map(({ path, attempt }) => [path, attempt]),
      [['there', 2]],
    )
  })

  test('are fenced: a lost lease declares and uploads nothing, and what came under it goes', async () => {
    await using hive = await open()
    const { ada, worker, claim } = await openJob(hive)
    const ids = await leave(worker, claim, { a: report })
    const { artifacts: pending } = (await declare(worker, claim, { late: image })).body
    const other = await hive.worker()
    assert.equal((await declare(other, claim, { b: report })).problem.code, 'lease_lost')
    assert.equal((await upload(other, claim, pending[0]?.id ?? '', image)).problem.code, 'lease_lost')
    hive.clock.advance(10 * 60_000)
    assert.equal((await declare(worker, claim, { b: report })).problem.code, 'lease_lost')
    assert.equal((await upload(worker, claim, pending[0]?.id ?? '', image)).problem.code, 'lease_lost')
    assert.equal((await storedKeys(hive)).length, 1)
    await hive.ctx.db.kysely.deleteFrom('jobLeases').execute()
    assert.equal(await sweepArtifacts(hive.ctx), 2)
    assert.deepEqual(await storedKeys(hive), [])
    assert.equal(await countedBytes(hive, ada), 0)
    assert.equal((await upload(worker, claim, ids.get('a') ?? '', report)).problem.code, 'lease_lost')
  })

  test('a worker revoked while it uploads leaves nothing', async () => {
    await using hive = await open()
    const { worker, claim } = await openJob(hive)
    const { artifacts: declared } = (await declare(worker, claim, { a: report })).body
    const admin = await hive.admin()
    await hive.call(workers.revokeWorker, { token: admin.token, params: { workerId: worker.id } })
    assert.equal((await upload(worker, claim, declared[0]?.id ?? '', report)).problem.code, 'worker_revoked')
    assert.deepEqual(await storedKeys(hive), [])
  })

  test('are exactly the bytes that were declared', async () => {
    await using hive = await open()
    const { worker, claim } = await openJob(hive)
    const { artifacts: declared } = (await declare(worker, claim, { a: report })).body
    const id = declared[0]?.id ?? ''
    for (const content of [
      report.subarray(1),
      Buffer.concat([report, report]),
      Buffer.alloc(report.length),
      Buffer.alloc(0),
    ])
      assert.equal((await upload(worker, claim, id, content)).problem.code, 'artifact_mismatch')
    assert.deepEqual(await storedKeys(hive), [])
    const digest = { 'content-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` }
    const params = { token: String(claim.token), artifactId: id }
    const forged = await worker.call(contract.uploadArtifact, { params, content: report, headers: digest })
    assert.equal(forged.problem.code, 'signature_invalid')
    assert.equal((await upload(worker, claim, hive.ctx.random.id(), report)).problem.code, 'artifact_not_found')
    assert.equal((await upload(worker, claim, id, report)).status, 204)
  })

  test('are kept once, however often and at once they are sent', async () => {
    await using hive = await open()
    const { ada, worker, claim } = await openJob(hive)
    const declared = await Promise.all(Array.from({ length: 3 }, () => declare(worker, claim, { a: image })))
    const ids = new Set(declared.filter(({ status }) => status === 200).map(({ body }) => body.artifacts[0]?.id ?? ''))
    assert.equal(ids.size, 1)
    const [id = ''] = ids
    const sent = await Promise.all(Array.from({ length: 4 }, () => upload(worker, claim, id, image)))
    assert.deepEqual(
      sent.map(({ status }) => status),
      [204, 204, 204, 204],
    )
    assert.equal((await upload(worker, claim, id, image)).status, 204)
    assert.equal((await storedKeys(hive)).length, 1)
    assert.equal(await countedBytes(hive, ada), image.length)
    assert.equal((await declare(worker, claim, { a: report })).problem.code, 'artifact_conflict')
  })

  test('have names that stay below the folder they are fetched into', async () => {
    await using hive = await open()
    const { worker, claim } = await openJob(hive)
    for (const path of ['../x', '/x', 'a/../x', 'a//b', 'a\\b', 'a\0b', 'a\nb', '', '.', 'x'.repeat(401), 'a\ud800b'])
      assert.equal((await declare(worker, claim, { [path]: report })).status, 400, JSON.stringify(path))
    const twice = { path: 'a', bytes: 1, sha256: sha256Of(report) }
    const params = { token: String(claim.token) }
    const { status } = await worker.call(contract.declareArtifacts, { params, body: { artifacts: [twice, twice] } })
    assert.equal(status, 400)
  })

  test('never exceed the storage of the plan, whoever declares at once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    const worker = await hive.worker({ slots: 8 })
    const projectId = await hive.project(ada)
    for (let i = 0; i < 6; i++) await submitted(hive, ada, projectId)
    const claims = await worker.claim(6)
    assert.equal(claims.length, 6)
    await setTier(hive, ada, 'free')
    const declared = { path: 'big', bytes: 400_000_000, sha256: '0'.repeat(64) }
    const replies = await Promise.all(
      claims.map(({ token }) =>
        worker.call(contract.declareArtifacts, { params: { token: String(token) }, body: { artifacts: [declared] } }),
      ),
    )
    const codes = replies.map((reply) => (reply.status === 200 ? 'ok' : reply.problem.code)).sort()
    assert.deepEqual(codes, ['ok', 'ok', 'storage_full', 'storage_full', 'storage_full', 'storage_full'])
    assert.equal(await countedBytes(hive, ada), 800_000_000)
    const rows = await hive.ctx.db.kysely.selectFrom('artifacts').select('id').execute()
    assert.equal(rows.length, 2)
  })

  test('expire, with what they counted', async () => {
    await using hive = await open()
    const { ada, worker, job, claim } = await openJob(hive)
    await leave(worker, claim, { a: report })
    await complete(worker, claim)
    hive.clock.advance(30 * 86_400_000 - 1)
    await sweepArtifacts(hive.ctx)
    const { token } = await hive.logInAgain('ada')
    assert.equal((await list(hive, { ...ada, token }, job.id)).body.items.length, 1)
    hive.clock.advance(1)
    assert.deepEqual((await list(hive, { ...ada, token }, job.id)).body.items, [])
    await sweepArtifacts(hive.ctx)
    assert.deepEqual(await storedKeys(hive), [])
    assert.equal(await countedBytes(hive, ada), 0)
  })

  test('contents that no row names go after a day, and a wrong count is set right', async () => {
    await using hive = await open()
    const { ada, worker, claim } = await openJob(hive)
    await leave(worker, claim, { a: report })
    const orphan = await hive.ctx.store.put(
      (async function* () {
        yield image
      })(),
      { maxBytes: image.length },
    )
    await hive.ctx.db.kysely.updateTable('teamStorage').set({ bytes: 5 }).execute()
    assert.equal(await sweepStore(hive.ctx), 0)
    assert.equal(await countedBytes(hive, ada), report.length)
    hive.clock.advance(86_400_001)
    assert.equal(await sweepStore(hive.ctx), 1)
    assert.equal(await hive.ctx.store.size(orphan.key), undefined)
    assert.equal((await storedKeys(hive)).length, 1)
  })
})
