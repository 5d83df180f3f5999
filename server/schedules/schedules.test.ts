import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as contract from '@hivesync/contracts/schedules.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, findDrift, setTier, submitted, take } from '../../test/harness/jobs.ts'
import { runDueSchedules } from './schedules.ts'

const job = { kind: 'compute' as const, input: { command: ['true'] } }
const hour = 3_600_000

const create = (
  hive: Hive,
  { token }: { token: string },
  projectId: string,
  more: Partial<contract.NewSchedule> = {},
) =>
  hive.call(contract.createSchedule, {
    token,
    params: { projectId },
    body: { name: 'nightly', cron: '30 * * * *', job, ...more },
  })
const change = (hive: Hive, { token }: Person, schedule: contract.Schedule, body: contract.ScheduleChange) =>
  hive.call(contract.updateSchedule, {
    token,
    params: { projectId: schedule.projectId, scheduleId: schedule.id },
    body,
  })
const read = async (hive: Hive, { token }: Person, { projectId, id }: contract.Schedule) =>
  (await hive.call(contract.getSchedule, { token, params: { projectId, scheduleId: id } })).body
const listJobs = async (hive: Hive, { token }: Person, projectId: string) =>
  (await hive.call(jobs.listJobs, { token, params: { projectId } })).body.items
const countAudit = async (hive: Hive, action: string) =>
  (await hive.ctx.db.kysely.selectFrom('auditEvents').select('id').where('action', '=', action).execute()).length

/** Hours go by in these tests, which a session's token does not outlive. */
async function keyOf(hive: Hive, person: Person): Promise<Person> {
  const body = { name: 'long', scopes: ['write' as const] }
  return { ...person, token: (await hive.call(keys.createApiKey, { token: person.token, body })).body.apiKey }
}

async function setup(hive: Hive, more: Partial<contract.NewSchedule> = {}) {
  const ada = await keyOf(hive, await hive.person('ada'))
  const projectId = await hive.project(ada)
  return { ada, projectId, schedule: (await create(hive, ada, projectId, more)).body }
}

describeHive('schedules', (open) => {
  test('show their next three runs, and submit a job at each, which names its schedule and its time', async () => {
    await using hive = await open()
    const { ada, projectId, schedule } = await setup(hive, { overlap: 'allow' })
    const runs = ['2026-01-05T12:30:00.000Z', '2026-01-05T13:30:00.000Z', '2026-01-05T14:30:00.000Z']
    assert.deepEqual([schedule.nextRunAt, schedule.nextRuns], [runs[0], runs])
    assert.equal(await runDueSchedules(hive.ctx), 0, 'nothing is due')
    for (const [index, at] of runs.entries()) {
      hive.clock.advance(index === 0 ? hour / 2 : hour)
      assert.equal(await runDueSchedules(hive.ctx), 1)
      assert.equal(await runDueSchedules(hive.ctx), 0, 'once')
      const [latest] = await listJobs(hive, ada, projectId)
      assert.deepEqual([latest?.scheduleId, latest?.scheduledFor, latest?.state], [schedule.id, at, 'queued'])
      const { lastJobId, lastRunAt, lastRefusal, nextRunAt } = await read(hive, ada, schedule)
      assert.deepEqual([lastJobId, lastRunAt, lastRefusal], [latest?.id, at, null])
      assert.equal(Date.parse(nextRunAt ?? ''), Date.parse(at) + hour)
    }
    assert.deepEqual(await findDrift(hive), [])
  })

  test('missed runs are left out, or one takes the place of them all; a minute late is not missed', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive, { missedRuns: 'skip', name: 'skips' })
    const once = (await create(hive, ada, projectId, { missedRuns: 'run_once', name: 'once' })).body
    hive.clock.advance(5 * hour)
    assert.equal(await runDueSchedules(hive.ctx), 1)
    const [made, ...others] = await listJobs(hive, ada, projectId)
    assert.deepEqual([made?.scheduleId, made?.scheduledFor, others.length], [once.id, once.nextRunAt, 0])
    hive.clock.advance(hour / 2 + 60_000)
    assert.equal(await runDueSchedules(hive.ctx), 1, 'the skipping one goes on; the other’s job has not ended')
  })

  test('a run is left out while a job of the schedule has not ended, unless overlaps are allowed', async () => {
    await using hive = await open()
    const { ada, projectId, schedule } = await setup(hive)
    const worker = await hive.worker()
    for (const expected of [1, 0, 0]) {
      hive.clock.advance(hour)
      await change(hive, ada, schedule, { cron: '*/30 * * * *' })
      hive.clock.advance(hour / 2)
      assert.equal(await runDueSchedules(hive.ctx), expected)
    }
    assert.equal((await read(hive, ada, schedule)).lastRefusal, 'still_running')
    await complete(worker, await take(worker))
    hive.clock.advance(hour / 2)
    assert.equal(await runDueSchedules(hive.ctx), 1)
    await change(hive, ada, schedule, { overlap: 'allow' })
    hive.clock.advance(hour / 2)
    assert.equal(await runDueSchedules(hive.ctx), 1)
    assert.equal((await listJobs(hive, ada, projectId)).length, 3)
  })

  test('paused it runs nothing, and resumed it makes up for nothing', async () => {
    await using hive = await open()
    const { ada, schedule } = await setup(hive, { missedRuns: 'run_once' })
    const paused = (await change(hive, ada, schedule, { paused: true })).body
    assert.ok(paused.pausedAt)
    assert.deepEqual([paused.nextRunAt, paused.nextRuns], [null, []])
    hive.clock.advance(3 * hour)
    assert.equal(await runDueSchedules(hive.ctx), 0)
    const resumed = (await change(hive, ada, schedule, { paused: false })).body
    assert.deepEqual([resumed.pausedAt, resumed.nextRunAt], [null, '2026-01-05T15:30:00.000Z'])
    assert.equal(await runDueSchedules(hive.ctx), 0)
  })

  test('run now submits a job of whoever asks, and moves no time', async () => {
    await using hive = await open()
    const { ada, projectId, schedule } = await setup(hive)
    const { token } = ada
    const { body } = await hive.call(contract.runSchedule, { token, params: { projectId, scheduleId: schedule.id } })
    assert.deepEqual([body.scheduleId, body.scheduledFor, body.state], [schedule.id, null, 'queued'])
    const after = await read(hive, ada, schedule)
    assert.deepEqual([after.lastJobId, after.nextRunAt], [body.id, schedule.nextRunAt])
  })

  test('a full queue, an archived project and an address that became refused are recorded, audited once, and stop no other schedule', async () => {
    await using hive = await open()
    const { ada, projectId, schedule } = await setup(hive)
    const other = await create(hive, ada, await hive.project(ada))
    for (let i = 0; i < 10; i++) await submitted(hive, ada, projectId)
    for (let i = 0; i < 2; i++) {
      hive.clock.advance(hour)
      await runDueSchedules(hive.ctx)
    }
    assert.equal((await read(hive, ada, schedule)).lastRefusal, null, 'missed: an hour has passed')
    for (let i = 0; i < 2; i++) {
      hive.clock.advance(hour / 2)
      await runDueSchedules(hive.ctx)
      hive.clock.advance(hour / 2)
      await runDueSchedules(hive.ctx)
    }
    assert.equal((await read(hive, ada, schedule)).lastRefusal, 'queue_full')
    assert.equal(await countAudit(hive, 'schedule.refused'), 2, 'queue_full once, still_running of the other once')
    const body = { archived: true }
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body })
    hive.clock.advance(hour / 2)
    await runDueSchedules(hive.ctx)
    const archived = await read(hive, ada, schedule)
    assert.equal(archived.lastRefusal, 'project_archived')
    assert.equal((await change(hive, ada, archived, { paused: false })).problem.code, 'project_archived')
    assert.equal((await change(hive, ada, archived, { paused: true })).status, 200)
    assert.equal((await read(hive, ada, other.body)).lastRefusal, 'still_running')
  })

  test('a project has at most 100, however many are made at once', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    const replies = await Promise.all(Array.from({ length: 104 }, () => create(hive, ada, projectId)))
    assert.equal(replies.filter(({ status }) => status === 201).length, 99)
    assert.equal(replies.find(({ status }) => status !== 201)?.problem.code, 'too_many_schedules')
  })

  test('values of secrets are sealed, shown nowhere, and reach the job', async () => {
    await using hive = await open()
    const input = { command: ['true'], secrets: { TOKEN: 'the-value-of-the-secret' } }
    const { ada, projectId, schedule } = await setup(hive, { job: { kind: 'compute', input } })
    const worker = await hive.worker()
    assert.deepEqual(schedule.submission.input, { command: ['true'], secretNames: ['TOKEN'] })
    const rows = await hive.ctx.db.kysely.selectFrom('schedules').selectAll().execute()
    assert.ok(!JSON.stringify(rows).includes('the-value'))
    hive.clock.advance(hour / 2)
    assert.equal(await runDueSchedules(hive.ctx), 1)
    const [claim] = await worker.claim()
    assert.deepEqual(claim?.secrets, { TOKEN: 'the-value-of-the-secret' })
    const shown = JSON.stringify([await listJobs(hive, ada, projectId), await read(hive, ada, schedule), hive.logged])
    assert.ok(!shown.includes('the-value'))
    const row = { sealedSecrets: rows[0]?.sealedSecrets?.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')) }
    await hive.ctx.db.kysely.updateTable('schedules').set(row).execute()
    if (claim !== undefined) await complete(worker, claim)
    hive.clock.advance(hour)
    await runDueSchedules(hive.ctx)
    assert.equal((await read(hive, ada, schedule)).lastRefusal, 'secrets_unreadable')
  })

  test('bad expressions, zones and jobs are refused with the field and store nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bad: [Partial<contract.NewSchedule>, string][] = [
      [{ cron: '61 * * * *' }, 'body/cron'],
      [{ cron: '0 0 0 * * *' }, 'body/cron'],
      [{ cron: '* * * *' }, 'body/cron'],
      [{ cron: '@daily' }, 'body/cron'],
      [{ cron: '? * * * *' }, 'body/cron'],
      [{ cron: '0 0 31 2 *' }, 'body/cron'],
      [{ cron: '2026-01-01T00:00:00Z' }, 'body/cron'],
      [{ cron: `${'0,'.repeat(90)}99 * * * *` }, 'body/cron'],
      [{ timeZone: 'Mars/Base' }, 'body/timeZone'],
      [{ timeZone: '+05:30' }, 'body/timeZone'],
      [{ job: { kind: 'compute', input: { command: [' '] } } }, 'body/job/input/command/0'],
      [{ job: { kind: 'ingest', input: { repository: 'https://127.0.0.1/a' } } }, 'body/job/input/repository'],
      [{ job: { ...job, backoff: { strategy: 'fixed', seconds: 9, maxSeconds: 3 } } }, 'body/job/backoff/maxSeconds'],
    ]
    for (const [more, path] of bad) {
      const reply = await create(hive, ada, projectId, more)
      assert.equal(reply.status, 400, JSON.stringify(more))
      assert.equal(reply.problem.fields?.[0]?.path, path, JSON.stringify(more))
    }
    assert.deepEqual(await hive.ctx.db.kysely.selectFrom('schedules').select('id').execute(), [])
    const { body } = await create(hive, ada, projectId)
    assert.equal((await change(hive, ada, body, { cron: '0 0 30 2 *' })).status, 400)
    assert.equal((await read(hive, ada, body)).cron, '30 * * * *')
  })

  test("another project's schedule does not exist, viewers look, editors change, and a key needs its scope", async () => {
    await using hive = await open()
    await setTier(hive, await hive.person('ada'), 'pro')
    const { ada, projectId, schedule } = await setup(hive)
    const [eve, other] = [await hive.person('eve'), await hive.project(ada)]
    const foreign = { token: ada.token, params: { projectId: other, scheduleId: schedule.id } }
    for (const endpoint of [contract.getSchedule, contract.deleteSchedule, contract.runSchedule])
      assert.equal((await hive.call(endpoint, foreign)).problem.code, 'schedule_not_found')
    assert.equal((await create(hive, eve, projectId)).problem.code, 'project_not_found')
    const member = { username: 'eve', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body: member })
    assert.equal((await read(hive, eve, schedule)).id, schedule.id)
    assert.equal((await change(hive, eve, schedule, { paused: true })).problem.code, 'permission_denied')
    const body = { name: 'k', scopes: ['read' as const], projectId }
    const session = await hive.person('ada')
    const { apiKey } = (await hive.call(keys.createApiKey, { token: session.token, body })).body
    assert.equal((await create(hive, { token: apiKey }, projectId)).problem.code, 'permission_denied')
    const params = { projectId, scheduleId: schedule.id }
    assert.equal((await hive.call(contract.deleteSchedule, { token: ada.token, params })).status, 204)
    assert.equal((await hive.call(contract.getSchedule, { token: ada.token, params })).status, 404)
  })
})
