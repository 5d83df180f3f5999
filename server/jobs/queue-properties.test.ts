// Properties 16 to 18 of the requirements, for interleavings that nobody thought of. A failure prints the seed and the shortest way there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import { legacyIngest } from '@hivesync/contracts/compat.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import fc from 'fast-check'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { complete, findDrift, repository, submit } from '../../test/harness/jobs.ts'
import { skipExpired } from './jobs.ts'

const cap = 10
const runs = { numRuns: 4 }
const size = { minLength: 10, maxLength: 25 }

/** One step: how many things happen at once, and which of the jobs they mean. */
interface Step {
  act: 'submit' | 'claim' | 'complete' | 'cancel' | 'retry' | 'advance'
  count: number
  pick: number
}
const steps = (...acts: Step['act'][]) =>
  fc.array(
    fc.record({ act: fc.constantFrom(...acts), count: fc.integer({ min: 1, max: 14 }), pick: fc.nat(1000) }),
    size,
  )

interface World {
  hive: Hive
  ada: Person
  projectId: string
  worker: TestWorker
}

const listed = (hive: Hive, projectId: string) =>
  hive.ctx.db.kysely
    .selectFrom('jobs')
    .select(['id', 'state', 'expiresAt', 'submittedAt'])
    .where('projectId', '=', projectId)
    .orderBy('id')
    .execute()

/** Ids of `count` of the project's jobs, beginning somewhere. */
async function some({ hive, projectId }: World, { count, pick }: Step): Promise<string[]> {
  const all = await listed(hive, projectId)
  return Array.from({ length: Math.min(count, all.length) }, (_, i) => all[(pick + i) % all.length]?.id ?? '')
}

async function take({ worker, projectId }: World, count: number) {
  return (await worker.claim(count)).filter((claim) => claim.projectId === projectId)
}

describeHive('for any interleaving', (open) => {
  test('at most the cap waits, and what was refused stored nothing (property 16)', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const worker = await hive.worker({ slots: 50 })
    await fc.assert(
      fc.asyncProperty(steps('submit', 'submit', 'claim', 'complete', 'cancel', 'retry'), async (interleaving) => {
        const world: World = { hive, ada, projectId: await hive.project(ada), worker }
        const held: { token: number }[] = []
        let accepted = 0
        for (const step of interleaving) {
          const { token } = ada
          if (step.act === 'submit') {
            const replies = await Promise.all(
              Array.from({ length: step.count }, () => submit(hive, ada, world.projectId)),
            )
            for (const { status } of replies) assert.ok(status === 201 || status === 429)
            accepted += replies.filter(({ status }) => status === 201).length
          } else if (step.act === 'claim') held.push(...(await take(world, step.count)))
          else if (step.act === 'complete')
            await Promise.all(held.splice(0, step.count).map((claim) => complete(worker, claim)))
          else {
            const endpoint = step.act === 'cancel' ? jobs.cancelJob : jobs.retryJob
            const ids = await some(world, step)
            await Promise.all(ids.map((jobId) => hive.call(endpoint, { token, params: { jobId } })))
          }
          const all = await listed(hive, world.projectId)
          assert.equal(all.length, accepted, 'a refused submission stores nothing')
          assert.ok(all.filter(({ state }) => state === 'queued').length <= cap, 'never more than the cap')
        }
        assert.deepEqual(await findDrift(hive), [])
        for (const claim of held) await complete(worker, claim)
        for (const { id: jobId } of await listed(hive, world.projectId))
          await hive.call(jobs.cancelJob, { token: ada.token, params: { jobId } })
      }),
      runs,
    )
  })

  test('/ingest answers 401 without the right token, and audits it; 429 when full; else takes the job (property 17)', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    let refused = 0
    const credential = fc.oneof(
      fc.constant('right' as const),
      fc.constant('none' as const),
      fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,80}$/),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(credential, { minLength: 8, maxLength: 30 }), async (attempts) => {
        const body = { name: 'pharos', scopes: ['ingest' as const], projectId: await hive.project(ada) }
        const { apiKey } = (await hive.call(keys.createApiKey, { token: ada.token, body })).body
        let waiting = 0
        for (const attempt of attempts) {
          const token = attempt === 'right' ? apiKey : attempt === 'none' ? undefined : attempt
          const { status } = await hive.call(legacyIngest, { token, body: repository })
          const expected = attempt !== 'right' ? 401 : waiting < cap ? 202 : 429
          assert.equal(status, expected, attempt)
          if (status === 202) waiting++
        }
        assert.equal((await listed(hive, body.projectId)).length, waiting)
        refused += attempts.filter((attempt) => attempt !== 'right').length
        await hive.refusals.settled()
        const audited = await hive.ctx.db.kysely
          .selectFrom('auditEvents')
          .select('details')
          .where('action', '=', 'request.refused')
          .where('targetId', '=', 'legacyIngest')
          .execute()
        const counts = audited.map(({ details }) => Number(JSON.parse(details).count))
        assert.equal(
          counts.reduce((sum, count) => sum + count, 0),
          refused,
          'each refusal is in the audit',
        )
      }),
      runs,
    )
  })

  test('a job past its time to live is never leased, and skipped exactly once (property 18)', async () => {
    await using hive = await open()
    const session = await hive.person('ada')
    const body = { name: 'long', scopes: ['write' as const] }
    const { apiKey } = (await hive.call(keys.createApiKey, { token: session.token, body })).body
    // A session's token would not outlive the advances of the clock.
    const ada = { ...session, token: apiKey }
    const worker = await hive.worker({ slots: 50 })
    await fc.assert(
      fc.asyncProperty(steps('submit', 'claim', 'advance', 'advance'), async (interleaving) => {
        const world: World = { hive, ada, projectId: await hive.project(ada), worker }
        for (const step of interleaving) {
          if (step.act === 'submit') await submit(hive, ada, world.projectId, { ttlSeconds: step.count })
          else if (step.act === 'advance') {
            hive.clock.advance(step.count * 500)
            if (step.pick % 2 === 0) await Promise.all([skipExpired(hive.ctx), skipExpired(hive.ctx)])
          } else {
            const before = new Map((await listed(hive, world.projectId)).map((job) => [job.id, job]))
            // Alone too: the claim itself must pass over what nobody has skipped yet.
            const sweep = step.pick % 2 === 0 ? skipExpired(hive.ctx) : undefined
            const [claims] = await Promise.all([take(world, step.count), sweep])
            for (const { jobId } of claims)
              assert.ok((before.get(jobId)?.expiresAt ?? 0) > hive.clock.now(), 'claimed within its time')
            for (const claim of claims) await complete(worker, claim)
          }
        }
        hive.clock.advance(15_000)
        await Promise.all([skipExpired(hive.ctx), skipExpired(hive.ctx)])
        assert.deepEqual(await take(world, 50), [])
        for (const { id, state } of await listed(hive, world.projectId)) {
          const events = await hive.ctx.db.kysely
            .selectFrom('jobEvents')
            .select('data')
            .where('jobId', '=', id)
            .execute()
          const skips = events.filter(({ data }) => JSON.parse(data).state === 'skipped').length
          const leases = events.filter(({ data }) => ['leased', 'running'].includes(JSON.parse(data).state)).length
          if (state === 'skipped') assert.deepEqual([skips, leases], [1, 0])
          else assert.deepEqual([state, skips], ['succeeded', 0])
        }
        assert.deepEqual(await findDrift(hive), [])
      }),
      runs,
    )
  })
})
