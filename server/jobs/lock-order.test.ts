import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import { revokeWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { findDrift, setTier, submit } from '../../test/harness/jobs.ts'
import { sqlState } from '../platform/db/sql-state.ts'
import { counterDrift, endRightlessJobs, reapLeases, reconcileCounters, skipExpired } from './jobs.ts'

/** What failed in any transaction, also where it went well when it was run again. */
function watchTransactions({ ctx: { db } }: Hive): unknown[] {
  const failures: unknown[] = []
  const transaction = db.transaction
  db.transaction = (body) =>
    transaction(async (tx) => {
      try {
        return await body(tx)
      } catch (error) {
        failures.push(error)
        throw error
      }
    })
  return failures
}

const isDeadlock = (error: unknown): boolean => sqlState(error) === '40P01'

interface Held {
  worker: TestWorker
  token: number
}

async function completeAll(worker: TestWorker, held: readonly Held[]) {
  const outcomes = ['succeeded', 'failed', 'returned'] as const
  const own = held.filter((lease) => lease.worker === worker)
  const completions = own.map(({ token }, index) => ({ token, outcome: outcomes[index % 3] ?? 'succeeded' }))
  return worker.call(protocol.completeLeases, { body: { completions } })
}

function beat(worker: TestWorker, held: readonly Held[]) {
  // Not in the order of their tokens: whoever locks them must not rely on it.
  const leases = held.flatMap((lease) => (lease.worker === worker ? [lease.token] : [])).reverse()
  return worker.call(protocol.heartbeat, { body: { leases } })
}

async function createKey(hive: Hive, { token }: Person) {
  const { body } = await hive.call(keys.createApiKey, { token, body: { name: 'ci', scopes: ['write'] } })
  return { id: body.id, token: body.apiKey }
}

describeHive('acts on the same jobs and counters at once', (open) => {
  test('none waits for one that waits for it: nothing deadlocks, nothing fails, nothing drifts', async () => {
    await using hive = await open()
    const people = [await hive.person('ada'), await hive.person('bob')]
    const projects: { person: Person; projectId: string }[] = []
    for (const person of people) {
      await setTier(hive, person, 'enterprise')
      for (let i = 0; i < 2; i++) projects.push({ person, projectId: await hive.project(person, `comb-${i}`) })
    }
    const admin = await hive.admin()
    const failures = watchTransactions(hive)
    let jobs: { person: Person; id: string }[] = []
    for (let round = 0; round < 4; round++) {
      const workers = await Promise.all([1, 2, 3].map(() => hive.worker({ slots: 16 })))
      const [revoked] = workers
      const key = await createKey(hive, people[0] as Person)
      for (const { person, projectId } of projects)
        for (let i = 0; i < 8; i++) {
          const as = i % 2 === 0 && person === people[0] ? key : person
          jobs.push({ person, id: (await submit(hive, as, projectId)).body.id })
        }
      const held: Held[] = []
      for (const worker of workers)
        for (const { token } of await worker.claim(6)) {
          held.push({ worker, token })
          await worker.call(protocol.startLease, { params: { token: String(token) } })
        }
      const statuses = await Promise.all([
        ...workers.map(async (worker) => (await completeAll(worker, held)).status),
        ...workers.map(async (worker) => (await beat(worker, held)).status),
        ...workers.map(async (worker) => {
          const body = { report, freeSlots: 4, waitSeconds: 0 }
          return (await worker.call(protocol.claimJobs, { body })).status
        }),
        ...projects.flatMap(({ person, projectId }) =>
          [1, 2, 3].map(async () => (await submit(hive, person, projectId)).status),
        ),
        ...jobs
          .filter((_, index) => index % 3 === 0)
          .map(async ({ person, id }) => {
            return (await hive.call(contract.cancelJob, { token: person.token, params: { jobId: id } })).status
          }),
        hive
          .call(revokeWorker, { token: admin.token, params: { workerId: revoked?.id ?? '' } })
          .then(({ status }) => status),
        hive
          .call(keys.revokeApiKey, { token: people[0]?.token ?? '', params: { apiKeyId: key.id } })
          .then(({ status }) => status),
        ...[reconcileCounters, reapLeases, skipExpired, endRightlessJobs, reconcileCounters].map(async (task) => {
          await task(hive.ctx)
          return 200
        }),
      ])
      const allowed = [200, 201, 204, 401, 409]
      assert.deepEqual(
        statuses.filter((status) => !allowed.includes(status)),
        [],
      )
      assert.deepEqual(await findDrift(hive), [])
      jobs = jobs.slice(-32)
    }
    assert.deepEqual(failures.filter(isDeadlock), [])
    assert.equal(counterDrift(hive.ctx), 0)
    const errors = hive.logged.filter((line) => line.includes('"level":"error"'))
    assert.deepEqual(errors, [])
  })
})

const report: WorkerReport = {
  version: '0.1.0',
  labels: [],
  kinds: ['compute'],
  slots: 16,
  isolation: { level: 'full', layers: [], reason: null },
}
