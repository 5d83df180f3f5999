import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as admin from '@hivesync/contracts/admin.ts'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as contract from '@hivesync/contracts/schedules.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { findDrift } from '../../test/harness/jobs.ts'
import { createBus } from '../platform/bus.ts'
import type { Context } from '../platform/context.ts'
import { openDatabase } from '../platform/db/db.ts'
import { runDueSchedules } from './schedules.ts'

const job = { kind: 'compute' as const, input: { command: ['true'] } }
const hour = 3_600_000

async function create(hive: Hive, token: string, projectId: string): Promise<contract.Schedule> {
  const body = { name: 'hourly', cron: '0 * * * *', overlap: 'allow' as const, job }
  return (await hive.call(contract.createSchedule, { token, params: { projectId }, body })).body
}
const read = async (hive: Hive, { token }: Person, { projectId, id }: contract.Schedule) =>
  (await hive.call(contract.getSchedule, { token, params: { projectId, scheduleId: id } })).body
const countJobs = async (hive: Hive) => (await hive.ctx.db.kysely.selectFrom('jobs').select('id').execute()).length
const countRefusals = async (hive: Hive) =>
  (await hive.ctx.db.kysely.selectFrom('auditEvents').select('id').where('action', '=', 'schedule.refused').execute())
    .length

describeHive('a schedule acts with its maker’s rights', (open, each) => {
  async function setup(hive: Hive) {
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const projectId = await hive.project(ada)
    const body = { username: 'eve', role: 'editor' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    // Hours go by, which a session's token does not outlive.
    const key = { name: 'long', scopes: ['write' as const] }
    const { apiKey } = (await hive.call(keys.createApiKey, { token: ada.token, body: key })).body
    return { ada, eve, projectId, reader: { ...ada, token: apiKey } }
  }

  test('it stops in the commit that deactivates them, says why, is audited once, and somebody else resumes it', async () => {
    await using hive = await open()
    const { ada, eve, projectId, reader } = await setup(hive)
    const [own, hers] = [await create(hive, ada.token, projectId), await create(hive, eve.token, projectId)]
    const queen = await hive.admin()
    const act = { params: { userId: eve.userId } }
    const headers = await hive.stepUp(queen, admin.deactivateUser, act)
    assert.equal((await hive.call(admin.deactivateUser, { token: queen.token, ...act, headers })).status < 300, true)
    const stopped = await read(hive, reader, hers)
    assert.equal(stopped.lastRefusal, 'rights_ended')
    assert.ok(stopped.pausedAt)
    for (let i = 0; i < 2; i++) {
      hive.clock.advance(hour)
      assert.equal(await runDueSchedules(hive.ctx), 1)
    }
    assert.equal(await countRefusals(hive), 1)
    assert.equal((await read(hive, reader, own)).lastRefusal, null)
    const params = { projectId, scheduleId: hers.id }
    const resumed = await hive.call(contract.updateSchedule, { token: reader.token, params, body: { paused: false } })
    assert.deepEqual([resumed.body.submittedBy, resumed.body.lastRefusal], [ada.userId, null])
    hive.clock.advance(hour)
    assert.equal(await runDueSchedules(hive.ctx), 2)
  })

  test('a smaller role, a revoked key and a key whose time is over end it', async () => {
    await using hive = await open()
    const { ada, eve, projectId, reader } = await setup(hive)
    const hers = await create(hive, eve.token, projectId)
    const makeKey = async (expiresAt?: string) => {
      const body = { name: 'ci', scopes: ['write' as const], expiresAt }
      return (await hive.call(keys.createApiKey, { token: ada.token, body })).body
    }
    const [revoked, short] = [await makeKey(), await makeKey(new Date(hive.clock.now() + hour * 1.5).toISOString())]
    const [byRevoked, byShort] = [
      await create(hive, revoked.apiKey, projectId),
      await create(hive, short.apiKey, projectId),
    ]
    const member = { token: ada.token, params: { projectId, userId: eve.userId } }
    await hive.call(projects.changeProjectMember, { ...member, body: { role: 'viewer' as const } })
    assert.equal((await read(hive, ada, hers)).lastRefusal, 'rights_ended')
    await hive.call(keys.revokeApiKey, { token: ada.token, params: { apiKeyId: revoked.id } })
    assert.equal((await read(hive, ada, byRevoked)).lastRefusal, 'rights_ended')
    hive.clock.advance(hour)
    assert.equal(await runDueSchedules(hive.ctx), 1, 'the key lives for half an hour more')
    hive.clock.advance(hour)
    assert.equal(await runDueSchedules(hive.ctx), 0)
    assert.equal((await read(hive, reader, byShort)).lastRefusal, 'rights_ended')
  })

  test('who changes more than pausing it becomes its maker', async () => {
    await using hive = await open()
    const { ada, eve, projectId } = await setup(hive)
    const { id } = await create(hive, ada.token, projectId)
    const patch = async (body: contract.ScheduleChange) =>
      (await hive.call(contract.updateSchedule, { token: eve.token, params: { projectId, scheduleId: id }, body })).body
        .submittedBy
    assert.equal(await patch({ paused: true }), ada.userId)
    assert.equal(await patch({ job: { ...job, priority: 9 } }), eve.userId)
  })

  test('of two replicas that look at the same moment exactly one starts each run', async () => {
    await using hive = await open()
    const { ada, projectId } = await setup(hive)
    for (let i = 0; i < 4; i++) await create(hive, ada.token, projectId)
    // SQLite serves one process: there the second loop shares its database.
    const isPostgres = each.dialect === 'postgres'
    const db = isPostgres ? await openDatabase(hive.ctx.config.databaseUrl, {}) : hive.ctx.db
    const other: Context = { ...hive.ctx, db, bus: createBus() }
    for (let round = 0; round < 2; round++) {
      hive.clock.advance(hour)
      const counts = await Promise.all([hive.ctx, other, hive.ctx, other].map((ctx) => runDueSchedules(ctx)))
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        4,
      )
    }
    assert.equal(await countJobs(hive), 8)
    assert.deepEqual(await findDrift(hive), [])
    if (isPostgres) await db.close()
  })

  test('a run whose transaction dies before its commit is started by the next look', async () => {
    await using hive = await open()
    const { ada, projectId, reader } = await setup(hive)
    const schedule = await create(hive, ada.token, projectId)
    hive.clock.advance(hour)
    const dies: Context['db']['transaction'] = (work) =>
      hive.ctx.db.transaction(async (tx) => {
        await work(tx)
        throw new Error('the process dies here')
      })
    assert.equal(await runDueSchedules({ ...hive.ctx, db: { ...hive.ctx.db, transaction: dies } }), 0)
    assert.deepEqual([await countJobs(hive), (await read(hive, reader, schedule)).nextRunAt], [0, schedule.nextRunAt])
    assert.equal(await runDueSchedules(hive.ctx), 1)
    assert.deepEqual(await findDrift(hive), [])
  })
})
