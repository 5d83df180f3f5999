import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { getJob, submitted } from '../../test/harness/jobs.ts'

const value = 'correct horse battery staple'
const body = {
  kind: 'compute' as const,
  input: { command: ['true'], secrets: { NPM_TOKEN: value, A_KEY: 'other value' } },
}

async function submitWithSecrets(hive: Hive, key = 'one', more: Record<string, string> = {}) {
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada, key)
  const request = () =>
    hive.call(contract.submitJob, {
      token: ada.token,
      params: { projectId },
      headers: { 'idempotency-key': key },
      body: { ...body, input: { ...body.input, secrets: { ...body.input.secrets, ...more } } },
    })
  return { ada, projectId, request, reply: await request() }
}

describeHive('secrets of jobs', (open) => {
  test('reach the worker that claims the job, and nobody else: what is stored and shown only names them', async () => {
    await using hive = await open()
    const { ada, reply } = await submitWithSecrets(hive)
    const job = await getJob(hive, ada, reply.body.id)
    assert.deepEqual(job.input, { command: ['true'], secretNames: ['A_KEY', 'NPM_TOKEN'] })
    for (const table of ['jobs', 'jobSecrets', 'jobEvents', 'auditEvents', 'outbox'] as const) {
      const rows = await hive.ctx.db.kysely.selectFrom(table).selectAll().execute()
      assert.ok(rows.length > 0 && !JSON.stringify(rows).includes(value), table)
    }
    const [claim] = await (await hive.worker()).claim()
    assert.deepEqual(claim?.secrets, body.input.secrets)
    assert.deepEqual(claim?.input, job.input)
  })

  test('are part of what an idempotency key stands for, whose stored form is no hash of them', async () => {
    await using hive = await open()
    const { ada, projectId, request, reply } = await submitWithSecrets(hive)
    assert.equal((await request()).body.id, reply.body.id)
    const other = await hive.call(contract.submitJob, {
      token: ada.token,
      params: { projectId },
      headers: { 'idempotency-key': 'one' },
      body: { ...body, input: { ...body.input, secrets: { NPM_TOKEN: 'another' } } },
    })
    assert.equal(other.problem.code, 'idempotency_mismatch')
    const { requestHash } = await hive.ctx.db.kysely.selectFrom('jobs').select('requestHash').executeTakeFirstOrThrow()
    assert.match(requestHash ?? '', /^v1\.[A-Za-z0-9_-]{8}\./)
  })

  test('that cannot be opened end their job with an alarm, not everybody’s claim', async () => {
    await using hive = await open()
    const { ada, projectId, reply } = await submitWithSecrets(hive)
    const { sealed } = await hive.ctx.db.kysely.selectFrom('jobSecrets').select('sealed').executeTakeFirstOrThrow()
    // Sealed for another job: what somebody with the database alone could do to have them delivered elsewhere.
    const foreign = hive.ctx.keyring.seal(
      'seal',
      hive.ctx.keyring.open('seal', sealed, `job_secrets:${reply.body.id}`),
      'job_secrets:x',
    )
    await hive.ctx.db.kysely.updateTable('jobSecrets').set({ sealed: foreign }).execute()
    const good = await submitted(hive, ada, projectId)
    const worker = await hive.worker()
    const claims = [...(await worker.claim(2)), ...(await worker.claim(2))]
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [good.id],
    )
    const ended = await getJob(hive, ada, reply.body.id)
    assert.deepEqual([ended.state, ended.error?.code], ['failed', 'internal'])
    assert.ok(!hive.logged.join('').includes(value))
  })

  test('a job that asks for the graphics device goes only to a worker that carries its label', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const params = { projectId: await hive.project(ada) }
    const input = { command: ['true'], gpu: true }
    const reply = await hive.call(contract.submitJob, { token: ada.token, params, body: { kind: 'compute', input } })
    assert.deepEqual(reply.body.labels, ['gpu'])
    assert.deepEqual(await (await hive.worker()).claim(), [])
    assert.equal((await (await hive.worker({ labels: ['gpu'] })).claim()).length, 1)
  })
})
