import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backoff } from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import fc from 'fast-check'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, take, trueCommand } from '../../test/harness/jobs.ts'
import { reapLeases } from './jobs.ts'
import { policy, retryDelayMs } from './policy.ts'

const submit = (hive: Hive, { token }: Person, projectId: string, backoff?: Backoff) =>
  hive.call(contract.submitJob, {
    token,
    params: { projectId },
    body: { kind: 'compute', input: trueCommand, maxAttempts: 4, backoff },
  })

test('each wait is half fixed and half chance; it grows to its end, or stays', () => {
  const seconds = fc.integer({ min: 1, max: 3600 })
  fc.assert(
    fc.property(
      seconds,
      fc.integer({ min: 0, max: 86_400 }),
      fc.nat(40),
      fc.nat(999),
      (first, more, failures, part) => {
        const maxSeconds = Math.min(86_400, first + more)
        const fixed = retryDelayMs(failures, part / 1000, { strategy: 'fixed', seconds: first })
        assert.ok(fixed >= first * 500 && fixed <= first * 1000)
        const grown = retryDelayMs(failures, part / 1000, { strategy: 'exponential', seconds: first, maxSeconds })
        const wait = Math.min(maxSeconds, first * 2 ** Math.min(failures, 16)) * 1000
        assert.ok(grown >= wait / 2 && grown <= wait)
      },
    ),
  )
})

describeHive('a failed attempt', (open) => {
  /** Fails the job once and tells how long its next attempt waits. */
  async function waitAfter(hive: Hive, fail: () => Promise<unknown>): Promise<number> {
    await fail()
    const { runAt } = await hive.ctx.db.kysely.selectFrom('jobQueue').select('runAt').executeTakeFirstOrThrow()
    return runAt - hive.clock.now()
  }

  test('waits as the submission says, and a lost worker as the server does', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const worker = await hive.worker()
    const backoff = { strategy: 'exponential' as const, seconds: 100, maxSeconds: 300 }
    const { body } = await submit(hive, ada, await hive.project(ada), backoff)
    assert.deepEqual(body.backoff, backoff)
    for (const [least, most] of [
      [50_000, 100_000],
      [100_000, 200_000],
      [150_000, 300_000],
    ] as const) {
      const ms = await waitAfter(hive, async () => complete(worker, await take(worker), { outcome: 'failed' }))
      assert.ok(ms >= least && ms <= most, `${ms}`)
      hive.clock.advance(ms)
    }
    const lost = await waitAfter(hive, async () => {
      await take(worker)
      hive.clock.advance(policy.leaseTtlMs)
      await reapLeases(hive.ctx)
    })
    assert.ok(lost >= 2500 && lost <= 5000, `${lost}`)
  })

  test('a longest wait below the first is refused with the field, and stores nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const reply = await submit(hive, ada, await hive.project(ada), { strategy: 'fixed', seconds: 9, maxSeconds: 8 })
    assert.equal(reply.status, 400)
    assert.equal(reply.problem.fields?.[0]?.path, 'body/backoff/maxSeconds')
    assert.deepEqual(await hive.ctx.db.kysely.selectFrom('jobs').select('id').execute(), [])
  })
})
