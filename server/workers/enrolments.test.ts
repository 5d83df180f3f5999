import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as contract from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { sql } from 'kysely'
import { claim, enrolFleetWorker } from '../../test/harness/fleet-worker.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { submitted } from '../../test/harness/jobs.ts'
import { openDatabase } from '../platform/db/db.ts'

async function newToken(hive: Hive, body: BodyOf<typeof contract.createEnrolment>) {
  const { token } = await hive.admin()
  return (await hive.call(contract.createEnrolment, { token, body })).body
}

const enrol = (hive: Hive, enrolmentToken: string, publicKey = generateEncodedKeyPair().publicKey) =>
  hive.call(protocol.enrolWorker, { body: { enrolmentToken, name: 'pod', publicKey } })

async function listed(hive: Hive, id: string): Promise<contract.Enrolment | undefined> {
  const { token } = await hive.admin()
  return (await hive.call(contract.listEnrolments, { token })).body.items.find((each) => each.id === id)
}

async function revoke(hive: Hive, enrolmentId: string, workers?: boolean) {
  const { token } = await hive.admin()
  const body = workers === undefined ? {} : { workers }
  return hive.call(contract.revokeEnrolment, { token, params: { enrolmentId }, body })
}

describeHive('the token of a fleet', (open, { dialect }) => {
  test('of thirteen machines at once with a token for eight exactly eight enrol, and each is audited', async () => {
    await using hive = await open()
    const { id, enrolmentToken } = await newToken(hive, { name: 'swarm', maxUses: 8, ephemeral: true })
    const replies = await Promise.all(Array.from({ length: 13 }, () => enrol(hive, enrolmentToken)))
    const enrolled = replies.filter(({ status }) => status === 201)
    assert.equal(enrolled.length, 8)
    for (const reply of replies.filter(({ status }) => status !== 201))
      assert.deepEqual([reply.status, reply.problem.code], [401, 'invalid_enrolment_token'])
    assert.deepEqual(
      enrolled.map(({ body }) => body.name).sort(),
      [1, 2, 3, 4, 5, 6, 7, 8].map((use) => `swarm-${use}`),
    )
    const entry = await listed(hive, id)
    assert.deepEqual([entry?.uses, entry?.maxUses, entry?.workers, entry?.state], [8, 8, 8, 'used'])
    const acts = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['outcome', 'details'])
      .where('action', '=', 'worker.enrolled')
      .execute()
    const uses = acts.filter(({ outcome }) => outcome === 'succeeded').map(({ details }) => JSON.parse(details))
    assert.deepEqual(
      uses.map(({ enrolmentId, use }) => [enrolmentId, use]).sort((a, b) => a[1] - b[1]),
      [1, 2, 3, 4, 5, 6, 7, 8].map((use) => [id, use]),
    )
    assert.equal(acts.length, 13)
    assert.equal((await enrol(hive, enrolmentToken)).status, 401, 'sent again after its last use')
  })

  test('is stored nowhere, refused after its time, and lives for at most 90 days, one for a single machine for a day', async () => {
    await using hive = await open()
    const { token } = await hive.admin()
    const create = (body: BodyOf<typeof contract.createEnrolment>) =>
      hive.call(contract.createEnrolment, { token, body })
    assert.equal((await create({ ttlSeconds: 86_401 })).problem.fields?.[0]?.path, 'body/ttlSeconds')
    assert.equal((await create({ ttlSeconds: 90 * 86_400 + 1, maxUses: 2 })).status, 400)
    assert.equal((await create({ maxUses: contract.maxEnrolmentUses + 1 })).status, 400)
    assert.equal((await create({ maxUses: 0 })).status, 400)
    const { id, enrolmentToken } = await newToken(hive, { ttlSeconds: 90 * 86_400, maxUses: 2 })
    assert.equal((await enrol(hive, enrolmentToken)).status, 201)
    const rows = await hive.ctx.db.kysely.selectFrom('workerEnrolments').selectAll().execute()
    const events = await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()
    const list = (await hive.call(contract.listEnrolments, { token })).body
    for (const kept of [rows, events, list, hive.logged])
      assert.equal(JSON.stringify(kept).includes(enrolmentToken), false)
    hive.clock.advance(90 * 86_400_000)
    assert.equal((await enrol(hive, enrolmentToken)).status, 401)
    // The admin's session is over by then, too.
    const row = await hive.ctx.db.kysely
      .selectFrom('workerEnrolments')
      .select('uses')
      .where('id', '=', id)
      .executeTakeFirst()
    assert.equal(row?.uses, 1)
  })

  test('binds its workers to its pool and team, whatever they say of themselves', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const [hers, his] = [await hive.project(ada), await hive.project(bob)]
    const { enrolmentToken } = await newToken(hive, { maxUses: 3, pool: 'swarm', teamId: ada.teamId })
    const worker = await enrolFleetWorker(hive, enrolmentToken)
    assert.deepEqual([worker.pool, worker.ephemeral, worker.reusable], ['swarm', false, true])
    await submitted(hive, ada, hers)
    assert.deepEqual((await claim(worker, 'default')).jobs, [], 'a job of the pool it names')
    await submitted(hive, bob, his, { pool: 'swarm' })
    assert.deepEqual((await claim(worker, 'default')).jobs, [], 'a job of another team')
    const job = await submitted(hive, ada, hers, { pool: 'swarm' })
    assert.deepEqual(
      (await claim(worker, 'default')).jobs.map(({ jobId }) => jobId),
      [job.id],
    )
  })

  test('that is revoked enrols nobody any more, and its workers go on unless they are to go too', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { id, enrolmentToken } = await newToken(hive, { maxUses: 9, ephemeral: true })
    const workers = [await enrolFleetWorker(hive, enrolmentToken), await enrolFleetWorker(hive, enrolmentToken)]
    const other = await hive.worker()
    assert.deepEqual((await revoke(hive, id)).body, { id, revokedWorkers: 0 })
    assert.equal((await enrol(hive, enrolmentToken)).problem.code, 'invalid_enrolment_token')
    assert.equal((await listed(hive, id))?.state, 'revoked')
    const job = await submitted(hive, ada, projectId)
    const [first] = workers
    assert.ok(first)
    assert.equal((await claim(first)).jobs[0]?.jobId, job.id)

    assert.deepEqual((await revoke(hive, id, true)).body, { id, revokedWorkers: 2 })
    assert.deepEqual((await revoke(hive, id, true)).body, { id, revokedWorkers: 0 })
    for (const worker of workers) assert.equal((await claim(worker)).refused, 'worker_revoked')
    assert.deepEqual(
      (await other.claim()).map(({ jobId }) => jobId),
      [job.id],
      'what they held is there for others',
    )
    const missing = await revoke(hive, '01900000-0000-7000-8000-000000000000', true)
    assert.deepEqual([missing.status, missing.problem.code], [404, 'enrolment_not_found'])
  })

  test('revoked with its workers leaves none, also of those that enrol at that moment', async () => {
    await using hive = await open()
    const { id, enrolmentToken } = await newToken(hive, { maxUses: 100 })
    const enrolling = Array.from({ length: 12 }, (_, index) =>
      index === 6 ? revoke(hive, id, true) : enrol(hive, enrolmentToken),
    )
    await Promise.all(enrolling)
    const live = await hive.ctx.db.kysely
      .selectFrom('workers')
      .select('id')
      .where('enrolmentId', '=', id)
      .where('revokedAt', 'is', null)
      .execute()
    assert.deepEqual(live, [])
  })

  test('revoked with its workers waits for none of them while it holds what their jobs are counted by', {
    skip: dialect === 'sqlite' && 'SQLite has one transaction at a time',
  }, async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { id, enrolmentToken } = await newToken(hive, { maxUses: 2 })
    const workers = [await enrolFleetWorker(hive, enrolmentToken), await enrolFleetWorker(hive, enrolmentToken)]
    for (const worker of workers) {
      await submitted(hive, ada, projectId)
      assert.equal((await claim(worker)).jobs.length, 1)
    }
    const { db } = hive.ctx
    const before = db.counts().retried
    const replica = await openDatabase(hive.ctx.config.databaseUrl)
    let revoking: ReturnType<typeof revoke> | undefined
    try {
      // As a completion: it holds its lease, and then asks for the counters.
      await replica.transaction(async (tx) => {
        const lease = tx
          .selectFrom('jobLeases')
          .select('token')
          .where('workerId', '=', workers[1]?.workerId ?? '')
        await lease.forUpdate().execute()
        revoking ??= revoke(hive, id, true)
        const waiting = sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
        while ((await waiting.execute(db.kysely)).rows.length === 0);
        await tx.selectFrom('teamShares').select('teamId').where('teamId', '=', ada.teamId).forUpdate().execute()
      })
      assert.equal((await revoking)?.body.revokedWorkers, 2)
      assert.equal(db.counts().retried - before + replica.counts().retried, 0, 'they waited for each other')
    } finally {
      await replica.close()
    }
  })

  test('is listed and revoked by admins alone, falls with the admin who made it', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { id, enrolmentToken } = await newToken(hive, { maxUses: 5, teamId: ada.teamId })
    assert.equal((await hive.call(contract.listEnrolments, { token: ada.token })).status, 403)
    const params = { enrolmentId: id }
    assert.equal((await hive.call(contract.revokeEnrolment, { token: ada.token, params, body: {} })).status, 403)
    assert.equal((await enrol(hive, enrolmentToken)).status, 201)
    await hive.ctx.db.kysely.updateTable('users').set({ adminSince: null }).where('username', '=', 'queen').execute()
    assert.equal((await enrol(hive, enrolmentToken)).status, 401)
    const row = await hive.ctx.db.kysely
      .selectFrom('workerEnrolments')
      .select('uses')
      .where('id', '=', id)
      .executeTakeFirst()
    assert.equal(row?.uses, 1, 'a refused use is none')
  })

  test('asked again with the same key, as after a lost answer, gives the same worker until that has spoken', async () => {
    await using hive = await open()
    for (const maxUses of [1, 2]) {
      const { id, enrolmentToken } = await newToken(hive, { maxUses })
      const pair = generateEncodedKeyPair()
      const first = await enrol(hive, enrolmentToken, pair.publicKey)
      const again = await enrol(hive, enrolmentToken, pair.publicKey)
      assert.deepEqual([again.status, again.body], [201, first.body])
      assert.equal((await listed(hive, id))?.uses, 1)
      const worker = await enrolFleetWorker(hive, enrolmentToken, pair)
      await claim(worker)
      assert.equal((await enrol(hive, enrolmentToken, pair.publicKey)).status, 401)
    }
    const used = await newToken(hive, { maxUses: 1 })
    const pair = generateEncodedKeyPair()
    assert.equal((await enrol(hive, used.enrolmentToken, pair.publicKey)).status, 201)
    await revoke(hive, used.id)
    assert.equal((await enrol(hive, used.enrolmentToken, pair.publicKey)).status, 401, 'revoked meanwhile')
  })

  test('used by a server of the version before, which counts nothing, is used up all the same', async () => {
    await using hive = await open()
    const { id, enrolmentToken } = await newToken(hive, {})
    const usedAt = hive.clock.now()
    await hive.ctx.db.kysely.updateTable('workerEnrolments').set({ usedAt }).where('id', '=', id).execute()
    assert.equal((await enrol(hive, enrolmentToken)).status, 401)
    const entry = await listed(hive, id)
    assert.deepEqual([entry?.state, entry?.uses], ['used', 1])
  })
})
