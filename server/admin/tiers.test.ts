import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import type { BodyOf, Endpoint, ParamsOf } from '@hivesync/contracts/endpoint.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import { listProjects } from '@hivesync/contracts/projects.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import * as contract from '@hivesync/contracts/tiers.ts'
import { sql } from 'kysely'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { ensureQueue, ensureShare } from '../jobs/counters.ts'
import { reconcileCounters } from '../jobs/jobs.ts'

describeHive('a plan', (open) => {
  async function act<const E extends Endpoint>(
    hive: Hive,
    endpoint: E,
    request: { params: ParamsOf<E>; body: BodyOf<E> },
  ) {
    const admin = await hive.admin()
    const headers = await hive.stepUp(admin, endpoint, request)
    return hive.call(endpoint, { token: admin.token, ...request, headers })
  }
  const change = (hive: Hive, tier: contract.Tier, body: BodyOf<typeof contract.changeTier>) =>
    act(hive, contract.changeTier, { params: { tier }, body })
  const assign = (hive: Hive, teamId: string, tier: contract.Tier) =>
    act(hive, contract.setTeamTier, { params: { teamId }, body: { tier } })
  const submit = (hive: Hive, who: Person, projectId: string) =>
    hive.call(jobs.submitJob, {
      token: who.token,
      params: { projectId },
      body: { kind: 'compute', input: { command: ['true'] } },
    })
  async function queuedOf(hive: Hive, who: Person, projectId: string, tries: number): Promise<number> {
    const replies = await Promise.all(Array.from({ length: tries }, () => submit(hive, who, projectId)))
    return replies.filter(({ status }) => status === 201).length
  }
  const askMe = (hive: Hive, who: Person) => hive.call(accounts.getMe, { token: who.token })
  const readsOf = async (hive: Hive, who: Person) => Number((await askMe(hive, who)).headers['x-ratelimit-limit'])

  test('that an admin changes holds for the next submission, whether the queue was there or not', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    assert.equal(await queuedOf(hive, ada, projectId, 15), 10)
    assert.equal((await change(hive, 'free', { waitingJobs: 13 })).body.waitingJobs, 13)
    assert.equal(await queuedOf(hive, ada, projectId, 15), 3)
    assert.equal(await queuedOf(hive, ada, await hive.project(ada, 'second'), 15), 13)
    // What is there beyond a smaller plan stays, and nothing comes to it.
    await change(hive, 'free', { waitingJobs: 5 })
    assert.equal(await queuedOf(hive, ada, projectId, 3), 0)
    const { items } = (await hive.call(jobs.listJobs, { token: ada.token, params: { projectId }, query: {} })).body
    assert.equal(items.length, 13)
  })

  test('that is changed while a queue is made holds for that queue too', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { db } = hive.ctx
    const [made, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const making = db.transaction(async (tx) => {
      await ensureQueue(tx, { id: projectId, teamId: ada.teamId }, 'compute')
      await ensureShare(tx, { id: projectId, teamId: ada.teamId })
      made.resolve()
      await released.promise
    })
    await made.promise
    let isChanged = false
    const changing = change(hive, 'free', { waitingJobs: 13, weight: 3 }).finally(() => {
      isChanged = true
    })
    // SQLite gives the change its turn when the transaction has ended.
    while (db.dialect === 'postgres' && !isChanged) {
      const waiting = await sql`select 1 from pg_locks where not granted and locktype in ('transactionid', 'tuple')
        and pid in (select pid from pg_stat_activity where datname = current_database())`.execute(db.kysely)
      if (waiting.rows.length > 0) break
    }
    released.resolve()
    await making
    await changing
    const queue = db.kysely.selectFrom('queueCounters').select('maxWaiting').where('projectId', '=', projectId)
    assert.deepEqual(await queue.execute(), [{ maxWaiting: 13 }])
    const share = db.kysely.selectFrom('teamShares').select('weight').where('teamId', '=', ada.teamId)
    assert.deepEqual(await share.execute(), [{ weight: 3 }])
  })

  test('with more running jobs lets the waiting ones begin, and reconciling finds nothing to repair', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await queuedOf(hive, ada, projectId, 8)
    const worker = await hive.worker({ slots: 10 })
    assert.equal((await worker.claim(10)).length, 2)
    assert.equal((await worker.claim(8)).length, 0)
    await assign(hive, ada.teamId, 'pro')
    await change(hive, 'pro', { runningJobs: 5, weight: 7 })
    assert.equal((await worker.claim(8)).length, 3)
    await reconcileCounters(hive.ctx)
    const repaired = hive.ctx.db.kysely.selectFrom('auditEvents').select('id').where('action', '=', 'counters.repaired')
    assert.deepEqual(await repaired.execute(), [])
    const share = hive.ctx.db.kysely
      .selectFrom('teamShares')
      .select(['maxRunning', 'weight'])
      .where('teamId', '=', ada.teamId)
    assert.deepEqual(await share.execute(), [{ maxRunning: 5, weight: 7 }])
  })

  test('of any of the person’s teams multiplies their rates, from the next request on', async () => {
    await using hive = await open({ config: { rateScale: 1 } })
    const ada = await hive.person('ada')
    assert.equal(await readsOf(hive, ada), 100)
    const news = hive.ctx.db.kysely.selectFrom('identityEpoch').select('epoch')
    const heardBefore = (await news.executeTakeFirstOrThrow()).epoch
    const { id: teamId } = (await hive.call(teams.createTeam, { token: ada.token, body: { name: 'keepers' } })).body
    await assign(hive, teamId, 'enterprise')
    assert.equal(await readsOf(hive, ada), 2000)
    // Other replicas hear of both, and forget what they remember of people.
    assert.equal((await news.executeTakeFirstOrThrow()).epoch, heardBefore + 1)
    await change(hive, 'enterprise', { rateMultiplier: 3 })
    assert.equal(await readsOf(hive, ada), 300)
    assert.equal((await news.executeTakeFirstOrThrow()).epoch, heardBefore + 2)
    await assign(hive, teamId, 'free')
    assert.equal(await readsOf(hive, ada), 100)
  })

  test('bounds bodies, texts, lists, headers and pages of its people', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const send = (input: BodyOf<typeof jobs.submitJob>['input'], headers: Record<string, string> = {}) =>
      hive.call(jobs.submitJob, {
        token: ada.token,
        params: { projectId },
        headers,
        body: { kind: 'compute', input } as BodyOf<typeof jobs.submitJob>,
      })
    const files = (count: number, length: number) => ({
      command: ['true'],
      files: Array.from({ length: count }, (_, i) => ({ path: `f${i}`, content: 'x'.repeat(length) })),
    })
    const large = await send(files(3, 40_000) as never)
    assert.notEqual(large.status, 413)
    await change(hive, 'free', { bodyBytes: 65_536 })
    const post = (more: Record<string, string>, payload: string | Readable) =>
      hive.inject({
        method: 'POST',
        url: `/api/v1/projects/${projectId}/jobs`,
        headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json', ...more },
        payload,
      })
    // Before anything of it is read: what comes is shorter.
    const announced = await post({ 'content-length': '65537' }, '{}')
    assert.deepEqual([announced.statusCode, announced.json().code], [413, 'payload_too_large'])
    const tooLarge = JSON.stringify({ kind: 'compute', input: files(3, 40_000) })
    const chunked = await post({}, Readable.from([tooLarge]))
    assert.deepEqual([chunked.statusCode, chunked.json().code], [413, 'payload_too_large'])
    await change(hive, 'free', { stringLength: 2000, arrayItems: 100, headerBytes: 4096, pageItems: 10 })
    const name = await send({ command: ['true'], ['k'.repeat(2001)]: 1 } as never)
    assert.equal(name.problem.code, 'payload_too_large')
    const text = await send({ command: ['true', 'x'.repeat(2001)] })
    assert.deepEqual([text.status, text.problem.detail?.includes('2000 characters')], [413, true])
    const list = await send({ command: Array.from({ length: 101 }, () => 'x') })
    assert.deepEqual([list.status, list.problem.detail?.includes('100 items')], [413, true])
    const headers = await send({ command: ['true'] }, { 'x-long': 'x'.repeat(4096) })
    assert.deepEqual([headers.status, headers.problem.code], [431, 'headers_too_large'])
    const listed = (limit: string) =>
      hive.call(jobs.listJobs, { token: ada.token, params: { projectId }, query: { limit } })
    assert.equal((await listed('10')).status, 200)
    assert.deepEqual((await listed('11')).problem.fields?.[0]?.path, 'query/limit')
    // A page of no length is no longer than the plan's either.
    const projects = Array.from({ length: 11 }, (_, i) => hive.project(ada, `more-${i}`))
    await Promise.all(projects)
    const { items, nextCursor } = (await hive.call(listProjects, { token: ada.token, query: {} })).body
    assert.deepEqual([items.length, nextCursor === null], [10, false])
    // Who is on another plan is not bound by it.
    assert.equal((await send({ command: ['true'] })).status, 201)
  })

  test('is changed by an admin with a fresh proof alone, within its bounds, and the change is remembered', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const admin = await hive.admin()
    const request = { params: { tier: 'free' as const }, body: { runningJobs: 9 } }
    assert.equal((await hive.call(contract.changeTier, { token: ada.token, ...request })).status, 403)
    assert.equal(
      (await hive.call(contract.changeTier, { token: admin.token, ...request })).problem.code,
      'step_up_required',
    )
    for (const body of [{ runningJobs: 0 }, { rateMultiplier: 1001 }, { bodyBytes: 2e9 }, { color: 1 }])
      assert.equal((await change(hive, 'free', body as never)).status, 400)
    await change(hive, 'free', { runningJobs: 9 })
    const rows = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['actorId', 'targetId', 'details'])
      .where('action', '=', 'tier.changed')
      .execute()
    assert.deepEqual(rows, [{ actorId: admin.userId, targetId: 'free', details: '{"runningJobs":9}' }])
    const nowhere = await assign(hive, '01890000-0000-7000-8000-000000000000', 'pro')
    assert.equal(nowhere.problem.code, 'team_not_found')
  })
})
