import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { findDrift, getJob, repository, setTier, submit, submitted, trueCommand } from '../../test/harness/jobs.ts'
import { skipExpired } from './jobs.ts'

const countJobs = async (hive: Hive) =>
  (
    await hive.ctx.db.kysely
      .selectFrom('jobs')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
  ).count

const post = (hive: Hive, { token }: { token: string }, projectId: string, payload: string) =>
  hive.inject({
    method: 'POST',
    url: `/api/v1/projects/${projectId}/jobs`,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    payload,
  })

async function member(hive: Hive, owner: Person, projectId: string, role: 'viewer' | 'editor'): Promise<Person> {
  const person = await hive.person(role)
  const body = { username: role, role }
  await hive.call(projects.addProjectMember, { token: owner.token, params: { projectId }, body })
  return person
}

describeHive('submitting jobs', (open) => {
  test('a submitted job waits, with its time to live, and its events, audit and outbox rows are there', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const job = await submitted(hive, ada, await hive.project(ada), { labels: ['b', 'a'] })
    assert.equal(job.state, 'queued')
    assert.equal(job.ttlSeconds, 86_400)
    assert.equal(Date.parse(job.expiresAt) - Date.parse(job.submittedAt), 86_400_000)
    assert.deepEqual(job.labels, ['a', 'b'])
    const db = hive.ctx.db.kysely
    assert.equal((await db.selectFrom('jobEvents').select('data').execute()).length, 1)
    assert.ok(
      await db.selectFrom('auditEvents').select('id').where('action', '=', 'job.submitted').executeTakeFirstOrThrow(),
    )
    assert.ok(await db.selectFrom('outbox').select('seq').where('topic', '=', 'job.submitted').executeTakeFirst())
    assert.deepEqual(await findDrift(hive), [])
  })

  test('of 40 submissions at once exactly the cap is stored, the others get 429 with Retry-After (property 16)', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const replies = await Promise.all(Array.from({ length: 40 }, () => submit(hive, ada, projectId)))
    assert.equal(replies.filter(({ status }) => status === 201).length, 10)
    const refused = replies.filter(({ status }) => status === 429)
    assert.equal(refused.length, 30)
    for (const { problem, headers } of refused) {
      assert.equal(problem.code, 'queue_full')
      assert.ok(Number(headers['retry-after']) > 0)
    }
    assert.equal(await countJobs(hive), 10)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('each kind and each project has its own queue', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [one, two] = [await hive.project(ada), await hive.project(ada)]
    for (let i = 0; i < 10; i++) await submitted(hive, ada, one)
    assert.equal((await submit(hive, ada, one)).status, 429)
    assert.equal((await submit(hive, ada, two)).status, 201)
    const body = { kind: 'ingest' as const, input: { repository } }
    const reply = await hive.call(contract.submitJob, { token: ada.token, params: { projectId: one }, body })
    assert.equal(reply.status, 201)
  })

  test('an idempotency key gives the same request the same job, even 20 at once, and another request 409', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const ask = (body: contract.NewJob, key: string) =>
      hive.call(contract.submitJob, {
        ...{ token: ada.token, params: { projectId }, body },
        headers: { 'idempotency-key': key },
      })
    const body: contract.NewJob = { kind: 'compute', input: trueCommand }
    const replies = await Promise.all(Array.from({ length: 20 }, () => ask(body, 'once')))
    assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([201]))
    assert.equal(new Set(replies.map((reply) => reply.body.id)).size, 1)
    const other = await ask({ ...body, priority: 9 }, 'once')
    assert.equal(other.status, 409)
    assert.equal(other.problem.code, 'idempotency_mismatch')
    assert.equal(await countJobs(hive), 1)
    assert.equal((await ask(body, 'twice')).body.id === replies[0]?.body.id, false)
    assert.equal((await ask(body, 'a b')).status, 400)
    assert.equal((await ask(body, 'x'.repeat(201))).status, 400)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('the same key in another project is another job', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const headers = { 'idempotency-key': 'once' }
    const body: contract.NewJob = { kind: 'compute', input: trueCommand }
    const ids = []
    for (const projectId of [await hive.project(ada), await hive.project(ada)]) {
      const reply = await hive.call(contract.submitJob, { token: ada.token, params: { projectId }, body, headers })
      ids.push(reply.body.id)
    }
    assert.equal(new Set(ids).size, 2)
  })

  test('a job past its time to live is never claimed: it is skipped, with the reason (property 18)', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await setTier(hive, ada, 'pro')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const [short, long] = [
      await submitted(hive, ada, projectId, { ttlSeconds: 60, priority: 9 }),
      await submitted(hive, ada, projectId, { ttlSeconds: 61 }),
    ]
    hive.clock.advance(60_000)
    const claims = await worker.claim(4)
    assert.deepEqual(
      claims.map(({ jobId }) => jobId),
      [long.id],
    )
    assert.equal(await skipExpired(hive.ctx), 1)
    assert.equal(await skipExpired(hive.ctx), 0)
    const job = await getJob(hive, ada, short.id)
    assert.equal(job.state, 'skipped')
    assert.equal(job.skipReason, 'ttl_expired')
    assert.equal(job.attempt, 0)
    assert.ok(job.finishedAt)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('a skipped place in the queue is free again', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (let i = 0; i < 10; i++) await submitted(hive, ada, projectId, { ttlSeconds: 1 })
    hive.clock.advance(1000)
    assert.equal((await submit(hive, ada, projectId)).status, 429)
    await Promise.all([skipExpired(hive.ctx), skipExpired(hive.ctx)])
    assert.equal((await submit(hive, ada, projectId)).status, 201)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('an archived project takes no jobs, a restored one does', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const archive = (archived: boolean) =>
      hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body: { archived } })
    await archive(true)
    const reply = await submit(hive, ada, projectId)
    assert.equal(reply.status, 409)
    assert.equal(reply.problem.code, 'project_archived')
    await archive(false)
    assert.equal((await submit(hive, ada, projectId)).status, 201)
  })

  test("another team's project does not exist, a viewer may not submit, an editor may", async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const projectId = await hive.project(ada)
    const foreign = await submit(hive, eve, projectId)
    assert.equal(foreign.problem.code, 'project_not_found')
    const refused = await submit(hive, await member(hive, ada, projectId, 'viewer'), projectId)
    assert.equal(refused.problem.code, 'permission_denied')
    assert.equal((await submit(hive, await member(hive, ada, projectId, 'editor'), projectId)).status, 201)
    assert.equal(await countJobs(hive), 1)
  })

  test('an API key submits with its scope and only in its project', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [projectId, other] = [await hive.project(ada), await hive.project(ada)]
    const make = async (scopes: ('read' | 'jobs:write')[]) => {
      const body = { name: 'ci', scopes, projectId }
      return { token: (await hive.call(keys.createApiKey, { token: ada.token, body })).body.apiKey }
    }
    const writer = await make(['jobs:write'])
    assert.equal((await submit(hive, writer, projectId)).status, 201)
    assert.equal((await submit(hive, writer, other)).problem.code, 'project_not_found')
    assert.equal((await submit(hive, await make(['read']), projectId)).problem.code, 'permission_denied')
  })

  test('unknown keys, wrong types, duplicate keys and impossible inputs are refused and store nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const file = (path: string) => `{"path":${JSON.stringify(path)},"content":""}`
    const compute = (more: string) => `{"kind":"compute","input":{"command":["true"]${more}}}`
    const refused: [string, string][] = [
      ['{"kind":"compute","input":{"command":["true"]},"shell":true}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"],"root":true}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":"true"}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":[1]}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":[]}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":[" "]}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["a\\u0000b"]}}', 'invalid_request'],
      ['{"kind":"compute","kind":"compute","input":{"command":["true"]}}', 'duplicate_key'],
      ['{"kind":"compute","input":{"command":["true"],"c\\u006fmmand":["id"]}}', 'duplicate_key'],
      ['{"kind":"mine","input":{}}', 'invalid_request'],
      ['{"kind":"ingest","input":{"command":["true"]}}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"priority":10}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"ttlSeconds":0}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"ttlSeconds":1e99}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"labels":["A"]}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"labels":["a","a"]}', 'invalid_request'],
      ['{"kind":"compute","input":{"command":["true"]},"__proto__":{}}', 'malformed_json'],
      ['{"kind":"compute"', 'malformed_json'],
      ['null', 'invalid_request'],
      ...['/etc/passwd', '../up', 'a/../b', './a', 'a//b', 'a/', '', 'a\\b', 'a\nb', '.', 'x'.repeat(401)].map(
        (path): [string, string] => [compute(`,"files":[${file(path)}]`), 'invalid_request'],
      ),
      [compute(`,"files":[${file('same')},${file('same')}]`), 'invalid_request'],
      [compute(`,"files":[${file('a/b')},${file('a')}]`), 'invalid_request'],
      [compute(',"env":{"BAD NAME":"x"}'), 'invalid_request'],
      [compute(',"env":{"A":"\\u0000"}'), 'invalid_request'],
      [compute(',"limits":{"memoryMiB":999999}'), 'invalid_request'],
    ]
    for (const [payload, code] of refused) {
      const reply = await post(hive, ada, projectId, payload)
      assert.equal(reply.statusCode, 400, `${payload} → ${reply.body}`)
      if (code !== 'malformed_json' || !payload.includes('__proto__')) assert.equal(reply.json().code, code, payload)
    }
    const huge = await post(hive, ada, projectId, `"${'x'.repeat(1024 * 1024 - 1)}"`)
    assert.equal(huge.statusCode, 413)
    assert.equal(await countJobs(hive), 0)
  })
})
