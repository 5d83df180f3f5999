import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as jobs from '@hivesync/contracts/jobs.ts'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { type ReceiptBody, signReceipt } from '@hivesync/protocol/receipt.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../../test/harness/hive.ts'
import { complete, getJob, submitted, take } from '../../test/harness/jobs.ts'

const run = {
  layers: ['namespaces', 'seccomp'],
  limits: { wallMs: 60_000 },
  usage: { wallMs: 812, cpuMs: null },
  exitCode: 0,
  killed: null,
}

function receiptOf(worker: TestWorker, claim: Claim, change: Partial<ReceiptBody> = {}, key = worker.key) {
  const { jobId, token, attempt, kind } = claim
  const finishedAt = '2030-01-02T03:04:05.678Z'
  const body: ReceiptBody = { version: 1, jobId, token, attempt, kind, workerId: worker.id, finishedAt, ...run }
  return { ...signReceipt(key, worker.id, { ...body, ...change }) }
}

describeHive('receipts', (open) => {
  async function begin(hive: Hive) {
    const [ada, worker] = [await hive.person('ada'), await hive.worker()]
    const projectId = await hive.project(ada)
    const job = await submitted(hive, ada, projectId)
    return { ada, worker, projectId, job, claim: await take(worker) }
  }
  async function attemptsOf(hive: Hive, { token }: Person, jobId: string): Promise<jobs.JobAttempt[]> {
    return (await hive.call(jobs.listAttempts, { token, params: { jobId } })).body.items
  }
  const audited = async (hive: Hive, action: string) => {
    const select = hive.ctx.db.kysely.selectFrom('auditEvents').select(['outcome', 'targetId', 'details'])
    return (await select.where('action', '=', action).execute()).map((row) => ({
      ...row,
      details: JSON.parse(row.details),
    }))
  }

  test('one that the worker signed about this attempt is kept as verified', async () => {
    await using hive = await open()
    const { ada, worker, claim, job } = await begin(hive)
    const receipt = receiptOf(worker, claim)
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', receipt })).body.state, 'succeeded')
    const [attempt] = await attemptsOf(hive, ada, job.id)
    assert.deepEqual([attempt?.receipt, attempt?.receiptVerified], [receipt, true])
    const again = await complete(worker, claim, { outcome: 'succeeded', receipt })
    assert.equal(again.body.state, 'succeeded', 'the same completion again is answered alike')
  })

  test('the same completion sent again after the key was replaced is answered alike, though its receipt is signed anew', async () => {
    await using hive = await open()
    const { worker, claim } = await begin(hive)
    const next = await hive.worker()
    for (const receipt of [receiptOf(worker, claim), receiptOf(worker, claim, {}, next.key)])
      assert.equal((await complete(worker, claim, { outcome: 'succeeded', receipt })).body.state, 'succeeded')
    const other = receiptOf(worker, claim, { exitCode: 7 })
    const reply = await complete(worker, claim, { outcome: 'succeeded', receipt: other })
    assert.equal(reply.problem.code, 'lease_lost')
  })

  test('one signed by the key that is being replaced is verified too', async () => {
    await using hive = await open()
    const { ada, worker, claim, job } = await begin(hive)
    const workers = hive.ctx.db.kysely.selectFrom('workers').where('id', '=', worker.id)
    const { publicKey: previousPublicKey } = await workers.select('publicKey').executeTakeFirstOrThrow()
    const { publicKey } = generateEncodedKeyPair()
    const keys = { publicKey, previousPublicKey, previousKeyUntil: hive.clock.now() + 600_000 }
    await hive.ctx.db.kysely.updateTable('workers').set(keys).where('id', '=', worker.id).execute()
    const receipt = receiptOf(worker, claim)
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', receipt })).body.state, 'succeeded')
    const [attempt] = await attemptsOf(hive, ada, job.id)
    assert.equal(attempt?.receiptVerified, true)
  })

  test('one without a signature, of a worker of the version before, is kept and not called verified', async () => {
    await using hive = await open()
    const { ada, worker, claim, job } = await begin(hive)
    await complete(worker, claim, { outcome: 'succeeded', receipt: { wallMs: 5 } })
    const [attempt] = await attemptsOf(hive, ada, job.id)
    assert.deepEqual([attempt?.receipt, attempt?.receiptVerified], [{ wallMs: 5 }, false])
  })

  test('a forged one, and a genuine one of another attempt, job or worker, end nothing and raise an alarm', async () => {
    await using hive = await open()
    const { ada, worker, claim, job, projectId } = await begin(hive)
    const other = await hive.worker()
    await submitted(hive, ada, projectId)
    const second = await take(worker)
    const genuine = receiptOf(worker, claim)
    const bad: [string, Record<string, unknown>, string][] = [
      ['changed', { ...genuine, exitCode: 1 }, 'signature'],
      ["another worker's key", receiptOf(worker, claim, {}, other.key), 'signature'],
      ['of another job', receiptOf(worker, second), 'another_lease'],
      ['of another attempt', receiptOf(worker, claim, { attempt: 2 }), 'another_lease'],
      ['of another token', receiptOf(worker, claim, { token: claim.token + 1000 }), 'another_lease'],
      ['of another worker', receiptOf(worker, claim, { workerId: other.id }), 'another_lease'],
      ['with more members', { ...genuine, more: true }, 'malformed'],
      ['with a signature that is none', { ...genuine, signature: 'x' }, 'malformed'],
      ['nothing but a signature', { signature: genuine.signature }, 'malformed'],
    ]
    for (const [what, receipt, reason] of bad) {
      const reply = await complete(worker, claim, { outcome: 'succeeded', receipt })
      assert.deepEqual([reply.status, reply.problem.code], [400, 'receipt_invalid'], what)
      const rows = await audited(hive, 'worker.receipt_refused')
      assert.deepEqual(rows.at(-1), {
        ...{ outcome: 'refused', targetId: job.id, details: { reason, token: claim.token } },
      })
    }
    assert.equal((await audited(hive, 'worker.receipt_refused')).length, bad.length)
    assert.equal((await getJob(hive, ada, job.id)).state, 'running')
    assert.equal((await complete(worker, claim, { outcome: 'succeeded', receipt: genuine })).status, 200)
  })

  test('what the network filter refused is audited once per attempt, by name', async () => {
    await using hive = await open()
    const { worker, claim, job } = await begin(hive)
    const egressRefused = [
      { host: 'evil.example.org', port: 443, reason: 'not_listed', count: 7 },
      { host: '', port: 0, reason: 'malformed', count: 1 },
    ]
    assert.equal((await complete(worker, claim, { outcome: 'failed', egressRefused })).status, 200)
    const details = { hosts: 'evil.example.org:443 (unnamed)', reasons: 'not_listed malformed', requests: 8 }
    assert.deepEqual(await audited(hive, 'job.egress_refused'), [{ outcome: 'refused', targetId: job.id, details }])
  })

  test('a worker cannot write what it likes into the audit', async () => {
    await using hive = await open()
    const { worker, claim } = await begin(hive)
    const fine = { host: 'evil.example.org', port: 443, reason: 'not_listed', count: 1 }
    for (const bad of [
      { ...fine, host: 'evil.example.org\nforged' },
      { ...fine, host: 'x'.repeat(254) },
      { ...fine, reason: 'Whatever I say' },
      { ...fine, count: 0 },
      { ...fine, address: '10.0.0.1' },
    ]) {
      const reply = await complete(worker, claim, { outcome: 'failed', egressRefused: [bad] })
      assert.equal(reply.problem.code, 'invalid_request', JSON.stringify(bad))
    }
    const flood = Array.from({ length: 21 }, () => fine)
    const reply = await complete(worker, claim, { outcome: 'failed', egressRefused: flood })
    assert.equal(reply.problem.code, 'invalid_request')
    assert.deepEqual(await audited(hive, 'job.egress_refused'), [])
  })
})
