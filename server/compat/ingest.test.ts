import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/compat.ts'
import { drainWorker } from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { beat, complete, findDrift, getJob, progress, repository, submit, take } from '../../test/harness/jobs.ts'
import { openSocket, refusalOf } from '../../test/harness/live.ts'
import { skipExpired } from '../jobs/jobs.ts'
import { importPharosToken } from '../keys/keys.ts'

async function keyOf(hive: Hive, { token }: Person, projectId?: string, scope: 'ingest' | 'read' = 'ingest') {
  const body = { name: 'pharos', scopes: [scope], ...(projectId === undefined ? {} : { projectId }) }
  return (await hive.call(keys.createApiKey, { token, body })).body.apiKey
}

const ingest = (
  hive: Hive,
  token: string | undefined,
  body: string | { repo_url: string } = { repo_url: repository },
) => hive.call(contract.legacyIngest, { ...(token === undefined ? {} : { token }), body })
const status = async (hive: Hive, token: string) => (await hive.call(contract.legacyWorkerStatus, { token })).body

async function setup(hive: Hive) {
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada)
  return { ada, projectId, token: await keyOf(hive, ada, projectId) }
}

const ingested = { commit: 'a'.repeat(40), branch: null, files: 0, bytes: 0 }

describeHive('POST /ingest', (open) => {
  test('takes an object and a bare string, and answers in the old words', async () => {
    await using hive = await open()
    const { ada, projectId, token } = await setup(hive)
    for (const body of [{ repo_url: repository }, repository]) {
      const reply = await ingest(hive, token, body)
      assert.equal(reply.status, 202)
      const { job_id, ...rest } = reply.body
      assert.deepEqual(rest, { status: 'queued', submitted_at: new Date(hive.clock.now()).toISOString(), ttl: 86_400 })
      const job = await getJob(hive, ada, job_id)
      assert.deepEqual([job.projectId, job.kind, job.input], [projectId, 'ingest', { repository }])
    }
  })

  test('without a token, or with a wrong one, 401', async () => {
    await using hive = await open()
    await setup(hive)
    const reply = await ingest(hive, undefined)
    assert.equal(reply.status, 401)
    assert.match(String(reply.headers['www-authenticate']), /^Bearer/)
    assert.equal((await ingest(hive, 'wrong')).status, 401)
    assert.equal((await hive.call(contract.legacyWorkerStatus, {})).status, 401)
  })

  test('the eleventh waiting ingest is refused with 429 and Retry-After, however many come at once (property 17)', async () => {
    await using hive = await open()
    const { token } = await setup(hive)
    const replies = await Promise.all(Array.from({ length: 25 }, () => ingest(hive, token)))
    assert.equal(replies.filter((reply) => reply.status === 202).length, 10)
    const refused = replies.filter((reply) => reply.status === 429)
    assert.equal(refused.length, 15)
    for (const { headers } of refused) assert.ok(Number(headers['retry-after']) > 0)
    assert.deepEqual((await status(hive, token)).queue, { pending: 10, max: 10 })
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a key that is bound to no project, or may only read, submits nothing', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const unbound = await ingest(hive, await keyOf(hive, ada))
    assert.equal(unbound.problem.code, 'project_not_found')
    assert.match(unbound.problem.detail ?? '', /bound to a project/)
    assert.equal((await ingest(hive, ada.token)).problem.code, 'project_not_found', 'a session names no project')
    assert.equal((await ingest(hive, await keyOf(hive, ada, projectId, 'read'))).status, 403)
  })

  test('the scope ingest opens nothing else', async () => {
    await using hive = await open()
    const { projectId, token } = await setup(hive)
    assert.equal((await submit(hive, { token }, projectId)).status, 403)
    const url = '/api/v1/projects'
    assert.equal((await hive.inject({ url, headers: { authorization: `Bearer ${token}` } })).statusCode, 403)
  })

  test('harmful addresses and unknown keys are refused as everywhere', async () => {
    await using hive = await open()
    const { token } = await setup(hive)
    for (const body of ['--upload-pack=x', 'https://127.0.0.1/a', { repo_url: 'https://a:b@example.net/c' }])
      assert.equal((await ingest(hive, token, body)).problem.code, 'repository_refused')
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    for (const payload of [`{"repo_url":"${repository}","x":1}`, '{"repo_url":1}', '[]', 'null', '1', '{}']) {
      const reply = await hive.inject({ method: 'POST', url: '/ingest', headers, payload })
      assert.equal(reply.statusCode, 400, payload)
    }
  })

  test("PHAROS_ADMIN_TOKEN is such a key, and reaches nobody else's project", async () => {
    const pharosToken = 'a-pharos-token-of-more-than-32-characters'
    await using hive = await open({ config: { pharosToken } })
    await importPharosToken(hive.ctx)
    const { projectId } = await setup(hive)
    const reply = await ingest(hive, pharosToken)
    assert.equal(reply.status, 202)
    assert.equal((await status(hive, pharosToken)).queue.pending, 1)
    assert.equal((await submit(hive, { token: pharosToken }, projectId)).status, 403)
    const jobs = await hive.ctx.db.kysely.selectFrom('jobs').select(['projectId', 'submittedByUser']).execute()
    assert.deepEqual(
      jobs.map((job) => [job.projectId === projectId, job.submittedByUser]),
      [[false, null]],
    )
    assert.equal(hive.logged.join('').includes(pharosToken), false)
  })
})

describeHive('GET /worker/status', (open) => {
  test('offline, idle, busy with phase and percent, stuck, and idle again with history', async () => {
    await using hive = await open()
    const { token } = await setup(hive)
    assert.deepEqual(await status(hive, token), {
      ...{ status: 'offline', current: null, queue: { pending: 0, max: 10 }, history: [] },
    })
    const worker = await hive.worker()
    await worker.claim()
    assert.equal((await status(hive, token)).status, 'idle')
    const { job_id } = (await ingest(hive, token)).body
    const claim = await take(worker)
    await progress(worker, claim, { phase: 'fetch', progress: 40, message: 'Receiving' })
    const current = { job_id, phase: 'fetch', progress: 40, message: 'Receiving' }
    const busy = await status(hive, token)
    assert.deepEqual([busy.status, busy.current, busy.queue.pending], ['busy', current, 0])
    hive.clock.advance(25_000)
    assert.equal((await status(hive, token)).status, 'busy', 'its beat may still be held open')
    hive.clock.advance(1001)
    const stuck = await status(hive, token)
    assert.deepEqual([stuck.status, stuck.current], ['stuck', current])
    await beat(worker, claim)
    assert.equal((await status(hive, token)).status, 'busy')
    await complete(worker, claim, { outcome: 'succeeded', result: ingested })
    const idle = await status(hive, token)
    assert.deepEqual([idle.status, idle.current], ['idle', null])
    assert.deepEqual(
      idle.history.map((job) => [job.job_id, job.status, job.duration_ms, job.reason]),
      [[job_id, 'succeeded', 26_001, null]],
    )
  })

  test('over a WebSocket the same comes at once and again whenever it changes, and ends with the key', async () => {
    await using hive = await open()
    const { ada, projectId, token } = await setup(hive)
    const body = { name: 'pharos', scopes: ['ingest' as const], projectId }
    const key = (await hive.call(keys.createApiKey, { token: ada.token, body })).body
    const reader = await openSocket<Awaited<ReturnType<typeof status>>>(hive, '/worker/status', { token: key.apiKey })
    assert.deepEqual(await reader.until(({ queue }) => queue.pending === 0), await status(hive, token))
    await ingest(hive, token)
    await reader.until(({ queue }) => queue.pending === 1)
    const worker = await hive.worker()
    const claim = await take(worker)
    await progress(worker, claim, { phase: 'fetch', progress: 40, message: 'Receiving' })
    const busy = await reader.until(({ current }) => current?.progress === 40)
    assert.deepEqual(busy, await status(hive, token))
    await hive.call(keys.revokeApiKey, { token: ada.token, params: { apiKeyId: key.id } })
    assert.deepEqual(await reader.ended, [4401, 'invalid_token'])
    assert.deepEqual((await refusalOf(hive, '/worker/status', { token: ada.token })).code, 'project_not_found')
  })

  test('history tells why a job was skipped or failed', async () => {
    await using hive = await open()
    const { token } = await setup(hive)
    await ingest(hive, token)
    const worker = await hive.worker()
    const error = { code: 'repository_not_found', message: 'There is none' }
    await complete(worker, await take(worker), { outcome: 'failed', error })
    await ingest(hive, token)
    const expiresAt = hive.clock.now()
    await hive.ctx.db.kysely.updateTable('jobQueue').set({ expiresAt }).execute()
    await skipExpired(hive.ctx)
    const { history } = await status(hive, token)
    assert.deepEqual(
      history.map((job) => [job.status, job.reason, job.duration_ms]),
      [
        ['skipped', 'ttl_expired', null],
        ['failed', 'repository_not_found', 0],
      ],
    )
  })

  test("only workers that would take this project's ingests count", async () => {
    await using hive = await open()
    const { ada, token } = await setup(hive)
    const bob = await hive.person('bob')
    const others = [{ teamId: bob.teamId }, { kinds: ['compute' as const] }, { isolation: 'none' as const }]
    for (const options of others) await (await hive.worker(options)).claim()
    assert.equal((await status(hive, token)).status, 'offline')
    const own = await hive.worker({ teamId: ada.teamId })
    await own.claim()
    assert.equal((await status(hive, token)).status, 'idle')
    const admin = await hive.admin()
    await hive.call(drainWorker, { token: admin.token, params: { workerId: own.id } })
    assert.equal((await status(hive, token)).status, 'offline')
  })

  test("another project's jobs are not in it", async () => {
    await using hive = await open()
    const { ada, token } = await setup(hive)
    const other = await keyOf(hive, ada, await hive.project(ada))
    await ingest(hive, other)
    await take(await hive.worker())
    const { status: state, current, queue } = await status(hive, token)
    assert.deepEqual([state, current, queue.pending], ['idle', null, 0])
  })
})
